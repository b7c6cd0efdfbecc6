package main

type endpointEnable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint on.
func (c *endpointEnable) Run(w *world) error { return c.turn(w, true) }

type endpointDisable struct {
	endpointTarget `embed:""`
}

// Run switches the endpoint off.
func (c *endpointDisable) Run(w *world) error { return c.turn(w, false) }

func (t endpointTarget) turn(w *world, on bool) error {
	ctx, cancel := w.asking()
	defer cancel()
	e, err := t.edit(ctx, showing())
	if err != nil {
		return err
	}
	defer e.close()
	ep, err := e.current(ctx)
	if err != nil {
		return err
	}
	if ep.Enabled != on {
		ep.Enabled = on
		if ep, err = e.Put(ctx, ep); err != nil {
			return conflict(err)
		}
	}
	w.printf("%s is %s (revision %d)\n", ep.Survey, viewOf(ep).state(), ep.Revision)
	return nil
}

type endpointRemove struct {
	endpointTarget `embed:""`
}

// Run removes the endpoint.
func (c *endpointRemove) Run(w *world) error {
	ctx, cancel := w.asking()
	defer cancel()
	e, err := c.edit(ctx, showing())
	if err != nil {
		return err
	}
	defer e.close()
	if err := e.Remove(ctx, e.survey, 0); err != nil {
		return conflict(err)
	}
	w.printf("%s has no endpoint any more: nothing is owed to it\n", e.survey)
	return nil
}

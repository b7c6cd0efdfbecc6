package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// suite is one run.
type suite struct {
	command
	tools tools
	*deployment

	rng  *rand.Rand
	rows []row
}

// Run builds the programs, breaks what they make, and prints the table.
func (c command) Run(ctx context.Context) (err error) {
	if len(c.among(slices.Concat(clustered(c.Kills), embedded()))) == 0 {
		return fmt.Errorf("break nothing: no fault has a name that holds one of %q (--only)", c.Only)
	}
	if c.Seed == 0 {
		c.Seed = time.Now().UnixNano() % 1_000_000
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", c.Seed)
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return err
	}
	defer func() {
		if c.Keep {
			fmt.Fprintln(os.Stderr, "kept:", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	t := tools{bin: dir, dir: dir, store: int64(c.Rounds) * storeOfARound}
	if err := process.Build(ctx, t.bin, "github.com/nats-io/nats-server/v2", "github.com/popsee/webhooks/cmd/webhooks"); err != nil {
		return err
	}
	s := &suite{command: c, tools: t, rng: rand.New(rand.NewPCG(uint64(c.Seed), 2))} //nolint:gosec // chance that can be repeated
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, c.Limit, errLimit) // which building does not use up: where nothing is cached it takes minutes
	defer cancel()
	err = s.all(limited)
	fmt.Fprintf(os.Stderr, "all in %s\n", time.Since(began).Round(time.Second))
	return errors.Join(s.cutShort(context.Cause(limited)), err, s.report())
}

// all breaks a cluster, and then a single machine.
func (s *suite) all(ctx context.Context) error {
	many, single := &ledger{name: "c"}, &ledger{name: "e"}
	r, err := newReceiver(many, single)
	if err != nil {
		return err
	}
	defer r.close()
	s.tools.receiver = r
	err = s.under(ctx, "cluster", many, openClustered, clustered(s.Kills))
	return errors.Join(err, s.under(ctx, "embedded", single, openEmbedded, embedded()))
}

// under opens a deployment, puts it under load, and breaks it.
func (s *suite) under(ctx context.Context, where string, l *ledger, open func(context.Context, tools, *ledger) (*deployment, error), faults []fault) error {
	faults = s.among(faults)
	if len(faults) == 0 || ctx.Err() != nil {
		return nil
	}
	s.tools.receiver.mended.Store(false)
	d, err := open(ctx, s.tools, l)
	defer d.close()
	if err != nil {
		return fmt.Errorf("open the %s deployment: %w", where, err)
	}
	s.deployment = d
	d.publisher = startPublisher(ctx, d.js, l, s.Rate, s.Seed)
	if err := process.Sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	for range s.Rounds {
		for _, f := range faults {
			if err := s.one(ctx, where, f); err != nil {
				return fmt.Errorf("%s: %s: %w", where, f.name, err)
			}
		}
	}
	return s.heal(ctx, where)
}

// among are those of some faults that are wanted.
func (c command) among(faults []fault) []fault {
	return slices.DeleteFunc(faults, func(f fault) bool { return !c.wanted(f.name) })
}

func (c command) wanted(name string) bool {
	return len(c.Only) == 0 || slices.ContainsFunc(c.Only, func(o string) bool { return strings.Contains(name, o) })
}

// lead is how long the endpoints that have just been mended get what waited for
// them, before something is broken.
const lead = time.Second

// saidWithin is how long the service may take to say what it must: it looks at the
// event stream now and then.
const saidWithin = 5 * time.Second

// one breaks something and checks. Half of the flapping endpoints recover before
// it, so that lanes drain meanwhile, and the other half begins to fail.
func (s *suite) one(ctx context.Context, where string, f fault) error {
	if f.disk && s.noDisk != nil {
		s.row(row{Where: where, Fault: f.name, NotRun: s.noDisk})
		return nil
	}
	s.receiver.turn.Add(1)
	s.breaking = s.begin(ctx, f)
	defer s.breaking.end()
	if err := process.Sleep(ctx, lead); err != nil {
		return err
	}
	b := before{time.Now(), s.ledger.totals()}
	logs := s.logs()
	if err := f.run(s, ctx); err != nil {
		return err
	}
	broken := time.Since(b.began)
	c, err := s.check(ctx, f, b)
	if f.exact && c.Again > 0 {
		c.complain("%d duplicates, none is allowed", c.Again)
	}
	if poll(ctx, saidWithin, func() error { return unless(strings.Contains(s.said(logs), f.says), "not yet") }) != nil {
		c.complain("nobody said %q", f.says)
	}
	c.Wrong = slices.Concat(c.Wrong, s.breaking.wrong, s.receiver.complaints())
	s.row(row{Where: where, Fault: f.name, Times: f.times, Broken: broken, Published: s.ledger.totals().Acked - b.totals.Acked, check: *c})
	return err
}

// row notes a row and shows it.
func (s *suite) row(r row) {
	s.rows = append(s.rows, r)
	if r.NotRun != nil {
		fmt.Fprintf(os.Stderr, "%s %-9s %-40s NOT RUN: %v\n", time.Now().Format("15:04:05"), r.Where, r.Fault, r.NotRun)
		return
	}
	fmt.Fprintf(os.Stderr, "%s %-9s %-40s broken %5.1fs gap %4.1fs quorum %4.1fs resumed %4.1fs settled %4.1fs duplicates %d of %d; %.0f a second; %s\n", time.Now().Format("15:04:05"), r.Where, r.Fault,
		r.Broken.Seconds(), r.Gap.Seconds(), r.Quorum.Seconds(), r.Resumed.Seconds(), r.Settled.Seconds(), r.Again, r.Allowed, r.Rate, r.Verdict)
	for _, w := range r.Wrong {
		fmt.Fprintln(os.Stderr, "   WRONG:", w)
	}
}

// heal mends every endpoint, stops publishing, and wants everything delivered.
func (s *suite) heal(ctx context.Context, where string) error {
	s.publisher.end()
	s.receiver.mended.Store(true)
	began, before := time.Now(), s.ledger.totals()
	if err := s.putEndpoints(ctx, firstFlap, withOne); err != nil {
		return err
	}
	c := &check{}
	s.checkRate(c)
	var w whereabouts
	if err := poll(ctx, stuckAfter, func() (err error) {
		w, err = s.drained(ctx, c)
		return err
	}); err != nil {
		c.complain("%v", err)
	}
	s.complainOfDead(c, w)
	c.Settled, c.Again, c.Allowed = time.Since(began), s.ledger.totals().Again-before.Again, s.standing+s.sinceLooked(began)
	if c.Again > c.Allowed {
		c.complain("%d duplicates, there may be %d", c.Again, c.Allowed)
	}
	c.Wrong = append(c.Wrong, s.receiver.complaints()...)
	s.row(row{Where: where, Fault: "everything mended", Times: 1, check: *c})
	return ctx.Err()
}

// checkRate says how many events a second were published from first to last.
func (s *suite) checkRate(c *check) {
	all := s.ledger.all()
	if len(all) == 0 {
		c.complain("nothing was published")
		return
	}
	c.Rate = rate(all, stretch{all[0].made, all[len(all)-1].made})
	if s.Rate >= leastRate && c.Rate < leastRate {
		c.complain("%.0f events a second were acknowledged while NATS was there, fewer than %d", c.Rate, leastRate)
	}
}

// drained finds out whether every event has been delivered that can be, and says where
// they are.
func (s *suite) drained(ctx context.Context, c *check) (whereabouts, error) {
	w, err := s.whereabouts(ctx)
	if err != nil {
		return w, err
	}
	c.Verdict = judge(s.ledger.known(time.Now()), w, s.taken)
	open := c.Verdict.Waiting + c.Verdict.Owed + c.Verdict.Live
	return w, unless(open == 0 && len(c.Verdict.Lost) == 0, fmt.Sprintf("not everything was delivered in the end: %v %v", c.Verdict, s.describe(c.Verdict.Lost)))
}

// report prints the table, and says whether anything was wrong.
func (s *suite) report() error {
	text := markdown(s.rows, s.Seed)
	fmt.Print(text)
	errs := s.failures()
	if s.Markdown != "" {
		errs = append(errs, os.WriteFile(s.Markdown, []byte(text), 0o600))
	}
	return errors.Join(errs...)
}

// failures are what was wrong, and what did not come at all.
func (s *suite) failures() (errs []error) {
	for _, r := range s.rows {
		if r.NotRun != nil && !s.MaySkipDisk {
			errs = append(errs, fmt.Errorf("%s: %s: NOT RUN: %w; where no disk can be made it may be left out with --may-skip-disk", r.Where, r.Fault, r.NotRun))
		}
		for _, w := range r.Wrong {
			errs = append(errs, fmt.Errorf("%s: %s: %s", r.Where, r.Fault, w))
		}
	}
	return errs
}

// poll tries now and then until it works, or long enough.
func poll(ctx context.Context, most time.Duration, try func() error) error {
	for deadline := time.Now().Add(most); ; {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := process.Sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/popsee/webhooks/config"
)

// configCommand groups what is asked about settings.
type configCommand struct {
	Show configShow `cmd:"" help:"Show the settings that a run would have, and where each came from."`
}

type configShow struct {
	config.Settings `embed:""`
	JSON            bool `name:"json" help:"Print JSON, one setting a line."`
}

// settingView is one setting as it is shown.
type settingView struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Run prints every setting of `webhooks run`, those of flags, environment and file
// in their order of precedence. Secrets stay hidden.
func (c *configShow) Run(ctx *kong.Context, origins *config.Origins, w *world) error {
	t := w.newTable("SETTING", "VALUE", "FROM")
	for _, flag := range ctx.Selected().Flags {
		origin, ok := origins.Of(ctx, flag)
		if !ok {
			continue
		}
		v := settingView{flag.Name, c.shown(flag), origin}
		if c.JSON {
			if err := w.printJSON(v); err != nil {
				return err
			}
			continue
		}
		t.AppendRow([]any{v.Name, v.Value, v.Origin})
	}
	if !c.JSON {
		t.Render()
	}
	return nil
}

// shown is a setting fit to be shown. A user of NATS without a password is a token.
func (c *configShow) shown(flag *kong.Flag) string {
	switch v := flag.Target.Interface().(type) {
	case string:
		switch {
		case v == "":
			return ""
		case flag.Name == "nats-url", flag.Name == "nats-monitor":
			return config.RedactServers(v)
		case flag.Name == "nats-user" && c.NATS.Password == "":
			return "token(...)"
		case config.IsSeed(v):
			return "seed(...)"
		}
		return v
	case config.Password:
		if v == "" {
			return ""
		}
		return v.String()
	case []netip.Prefix:
		texts := make([]string, len(v))
		for i, p := range v {
			texts[i] = p.String()
		}
		return strings.Join(texts, ",")
	default:
		return fmt.Sprint(v)
	}
}

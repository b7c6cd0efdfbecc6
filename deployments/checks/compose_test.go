package checks

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/popsee/webhooks/config"
)

// TestTheComposeFileIsOne loads it as Docker does, with its schema and every
// reference in it followed.
func TestTheComposeFileIsOne(t *testing.T) {
	file := []types.ConfigFile{{Filename: "../compose.yaml"}}
	load := func(env types.Mapping) (*types.Project, error) {
		return loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: "..", ConfigFiles: file, Environment: env}, func(o *loader.Options) { o.Profiles = []string{"*"} })
	}
	if _, err := load(nil); err == nil || !strings.Contains(err.Error(), "WEBHOOKS_ADMIN_TOKEN") {
		t.Errorf("without an admin token it loads all the same: %v", err)
	}
	p, err := load(types.Mapping{"WEBHOOKS_ADMIN_TOKEN": "01234567890123456789"}) // which NATS could take for a number
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"nats-": 3, "replica-": 3, "receiver": 1, "prometheus": 1, "grafana": 1} {
		n := 0
		for service := range p.Services {
			if strings.HasPrefix(service, name) {
				n++
			}
		}
		if n != want {
			t.Errorf("there are %d services %s, want %d", n, name, want)
		}
	}
	var monitors []string
	for name, s := range p.Services {
		if !strings.HasPrefix(name, "nats-") {
			continue
		}
		monitors = append(monitors, "http://"+name+":8222")
		wantTaken(t, s)
		if at := s.Environment["NATS_MAX_STORE"]; at == nil || *at == "" || *at == "0" {
			t.Errorf("the account has no limit on %s, so nobody would be told that its store fills up", name)
		}
	}
	slices.Sort(monitors)
	for name, s := range p.Services {
		if s.Image != "popsee/webhooks:local" {
			continue
		}
		if at := s.Environment["WEBHOOKS_NATS_MONITOR"]; at == nil || *at != strings.Join(monitors, ",") {
			t.Errorf("service %s does not ask each node of NATS how it syncs", name)
		}
		if !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("service %s has capabilities", name)
		}
		if !s.ReadOnly && len(handedOver(p, s)) == 0 {
			t.Errorf("service %s may write, for no reason", name)
		}
		for variable := range s.Environment {
			if !slices.Contains(settings(), variable) && !strings.HasPrefix(variable, "OTEL_") {
				t.Errorf("service %s sets %s, which nobody reads", name, variable)
			}
		}
	}
	for name, s := range p.Services {
		if handed := handedOver(p, s); s.ReadOnly && len(handed) > 0 {
			t.Errorf("service %s is read-only, and docker compose up would fail: it is handed %v, which is not a file: that can be mounted", name, handed)
		}
	}
	wantReceiverAllowed(t, p)
}

// handedOver are the secrets and configs that Compose writes into a service's container
// before it starts. It refuses to where that is read-only; what comes of a file is
// mounted.
func handedOver(p *types.Project, s types.ServiceConfig) (names []string) {
	for _, ref := range s.Secrets {
		if p.Secrets[ref.Source].File == "" {
			names = append(names, "secret "+ref.Source)
		}
	}
	for _, ref := range s.Configs {
		if p.Configs[ref.Source].File == "" {
			names = append(names, "config "+ref.Source)
		}
	}
	return names
}

// wantTaken asks nats-server whether it takes the node's configuration with the node's
// environment and nothing else: it starts with no variable unset.
func wantTaken(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), natsServer, "-t", "-c", filepath.Join(natsDir, filepath.Base(s.Command[1])))
	for name := range s.Environment {
		cmd.Env = append(cmd.Env, name+"="+value(s, name))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s does not start: %v\n%s", s.Name, err, out)
	}
}

// wantReceiverAllowed wants that whoever writes, and whoever sends to, the endpoint at
// the receiver lets it be on the network that the receiver is on.
func wantReceiverAllowed(t *testing.T, p *types.Project) {
	t.Helper()
	receiver := "http://receiver:9000/"
	if !slices.Contains(p.Services["endpoint"].Command, receiver) {
		t.Fatalf("the endpoint is not at %s: %v", receiver, p.Services["endpoint"].Command)
	}
	ipam := p.Networks["default"].Ipam.Config
	if len(ipam) != 1 {
		t.Fatalf("the default network has %d address pools, want one that WEBHOOKS_ALLOW can name", len(ipam))
	}
	network, err := netip.ParsePrefix(ipam[0].Subnet)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replica-1", "replica-2", "replica-3", "endpoint"} {
		s := p.Services[name]
		var allowed []netip.Prefix
		for text := range strings.SplitSeq(value(s, "WEBHOOKS_ALLOW"), ",") {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				t.Errorf("service %s: WEBHOOKS_ALLOW: %v", name, err)
			}
			allowed = append(allowed, prefix)
		}
		if !slices.Contains(allowed, network) || value(s, "WEBHOOKS_ALLOW_INSECURE_ENDPOINTS") != "true" {
			t.Errorf("service %s allows %v, want plain http to the receiver's network %s", name, allowed, network)
		}
		for _, where := range []string{"receiver", name} {
			if _, on := p.Services[where].Networks["default"]; !on {
				t.Errorf("service %s is on %v, want the default network", where, p.Services[where].Networks)
			}
		}
	}
}

// value is what a service's environment holds under a name.
func value(s types.ServiceConfig, name string) string {
	if v := s.Environment[name]; v != nil {
		return *v
	}
	return ""
}

// settings are the names of the environment variables that the service reads.
func settings() (names []string) {
	var collect func(reflect.Type)
	collect = func(of reflect.Type) {
		for f := range of.Fields() {
			if name := f.Tag.Get("env"); name != "" {
				names = append(names, name)
			} else if f.Type.Kind() == reflect.Struct {
				collect(f.Type)
			}
		}
	}
	collect(reflect.TypeFor[config.Settings]())
	return names
}

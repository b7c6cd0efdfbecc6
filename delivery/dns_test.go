package delivery

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// resolver asks answer instead of any real server, over connections in memory.
func resolver(t testing.TB, answer func(name string, kind dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode)) *net.Resolver {
	t.Helper()
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		servers.Go(func() {
			defer theirs.Close()
			for serveDNS(theirs, answer) == nil {
				continue
			}
		})
		return ours, nil
	}}
}

// serveDNS answers one question, framed as over TCP.
func serveDNS(c net.Conn, answer func(string, dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode)) error {
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return err
	}
	packet := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, packet); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return err
	}
	q := m.Questions[0]
	bodies, code := answer(strings.TrimSuffix(q.Name.String(), "."), q.Type)
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: code},
		Questions: m.Questions,
	}
	name := q.Name
	for _, b := range bodies {
		h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
		if alias, ok := b.(*dnsmessage.CNAMEResource); ok {
			name = alias.CNAME
		}
		reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: h, Body: b})
	}
	packed, err := reply.Pack()
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	return err
}

// addresses answers A and AAAA questions with those of the list that fit.
func addresses(kind dnsmessage.Type, list ...string) (bodies []dnsmessage.ResourceBody, code dnsmessage.RCode) {
	for _, text := range list {
		addr := netip.MustParseAddr(text)
		switch {
		case kind == dnsmessage.TypeA && addr.Is4():
			bodies = append(bodies, &dnsmessage.AResource{A: addr.As4()})
		case kind == dnsmessage.TypeAAAA && addr.Is6():
			bodies = append(bodies, &dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	return bodies, dnsmessage.RCodeSuccess
}

func at(host string, port uint16) string { return fmt.Sprintf("https://%s:%d/", host, port) }

// wantTouched shows that a canary would have been reached but for the guard: where loopback is allowed, it is.
func wantTouched(t *testing.T, trap *hostiletest.Canary, dns *net.Resolver) {
	t.Helper()
	open := Rules{Allow: append(slices.Clone(loopback), netip.MustParsePrefix("::1/128"))}
	client := mustClient(t, Options{Rules: open, Resolver: dns})
	send(t, client, mustTargetUnder(t, TargetSpec{URL: at("hooks.example.com", trap.Addr.Port())}, open))
	trap.Touched(t)
}

func TestNamesThatResolveToWhereNothingMayGo(t *testing.T) {
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	alias := &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("localhost.")}
	for name, answer := range map[string]func(string, dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode){
		"loopback": func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
			return addresses(k, "127.0.0.1")
		},
		"several, all private": func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
			return addresses(k, "127.0.0.1", "10.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "0.0.0.0")
		},
		"mapped": func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
			return addresses(k, "::ffff:127.0.0.1")
		},
		"an alias of loopback": func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
			bodies, code := addresses(k, "127.0.0.1")
			return append([]dnsmessage.ResourceBody{alias}, bodies...), code
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := mustClient(t, Options{Resolver: resolver(t, answer)})
			a := send(t, client, mustTargetUnder(t, TargetSpec{URL: at("hooks.example.com", trap.Addr.Port())}, Rules{}))
			wantEnd(t, a, Again, ReasonBlocked)
			if a.Phases.DNS <= 0 {
				t.Errorf("phases: got %+v, want the time DNS took", a.Phases)
			}
			trap.Untouched(t)
			wantTouched(t, trap, resolver(t, answer))
		})
	}
}

// Rebinding: the name was public when it was looked at, and is this machine when it is dialled.
func TestRebindingReachesNothing(t *testing.T) {
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	var asked atomic.Int64
	dns := resolver(t, func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
		if asked.Add(1) <= 2 { // A and AAAA
			return addresses(k, "93.184.215.14")
		}
		return addresses(k, "127.0.0.1")
	})
	looked, err := dns.LookupNetIP(t.Context(), "ip", "rebind.example.com")
	if err != nil || len(looked) != 1 || newGuard(Rules{}, nil).address(looked[0]) != findPublic {
		t.Fatalf("the first look: got %v %v, want one public address", looked, err)
	}
	client := mustClient(t, Options{Resolver: dns})
	target := mustTargetUnder(t, TargetSpec{URL: at("rebind.example.com", trap.Addr.Port())}, Rules{})
	for range 3 {
		wantEnd(t, send(t, client, target), Again, ReasonBlocked)
	}
	trap.Untouched(t)
	wantTouched(t, trap, dns)
}

// A name with a good and a bad address reaches the good one alone, whichever comes first.
func TestANameWithOneGoodAddress(t *testing.T) {
	trap := hostiletest.NewCanary(t, "127.0.0.1:0")
	receiver(t, fmt.Sprintf("127.0.0.2:%d", trap.Addr.Port()), func(http.ResponseWriter, *http.Request) {})
	for name, list := range map[string][]string{"first": {"127.0.0.2", "127.0.0.1"}, "last": {"127.0.0.1", "127.0.0.2"}} {
		t.Run(name, func(t *testing.T) {
			client := mustClient(t, Options{
				Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}},
				Resolver: resolver(t, func(_ string, k dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
					return addresses(k, list...)
				}),
			})
			target := mustTarget(t, TargetSpec{URL: fmt.Sprintf("http://both.example.com:%d/", trap.Addr.Port())})
			wantEnd(t, send(t, client, target), Delivered, Reason2xx)
			trap.Untouched(t)
			if list[0] != "127.0.0.1" {
				return // with both allowed the first one is taken, and answers
			}
			wantTouched(t, trap, resolver(t, toAddress("127.0.0.1")))
		})
	}
}

func TestWhoseFaultAFailedLookupIs(t *testing.T) {
	for name, v := range map[string]struct {
		code   dnsmessage.RCode
		reason Reason
		detail string
	}{
		"no such name is the endpoint's": {dnsmessage.RCodeNameError, ReasonDNS, "resolve hooks.example.com: no such host"},
		"no address is the endpoint's":   {dnsmessage.RCodeSuccess, ReasonDNS, "resolve hooks.example.com: no such host"},
		"a failed server may be ours":    {dnsmessage.RCodeServerFailure, ReasonDNSOurs, "resolve hooks.example.com: the resolver failed"},
	} {
		t.Run(name, func(t *testing.T) {
			client := mustClient(t, Options{Resolver: resolver(t, func(string, dnsmessage.Type) ([]dnsmessage.ResourceBody, dnsmessage.RCode) {
				return nil, v.code
			})})
			a := send(t, client, mustTargetUnder(t, TargetSpec{URL: "https://hooks.example.com/"}, Rules{}))
			wantEnd(t, a, Again, v.reason)
			if a.Detail != v.detail {
				t.Errorf("detail: got %q, want %q", a.Detail, v.detail)
			}
		})
	}
}

func TestAResolverThatNeverAnswers(t *testing.T) {
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	client := mustClient(t, Options{Resolver: silent, Timeout: 50 * time.Millisecond})
	a := send(t, client, mustTargetUnder(t, TargetSpec{URL: "https://hooks.example.com/"}, Rules{}))
	wantEnd(t, a, Again, ReasonDNSOurs)
}

package delivery

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

func TestHostileHTTP2Receivers(t *testing.T) {
	for _, v := range hostiletest.OverHTTP2() {
		t.Run(v.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := hostiletest.NewAuthority(t)
				cert := ca.Issue(t, "receiver.example", hostiletest.LongLeft)
				serve := hostiletest.SpeaksHTTP2(cert, v.Settings, v.Then)
				client, target := piped(t, "https://receiver.example/", serve)
				client.tls.RootCAs = ca.Pool
				a := send(t, client, target)
				wantEndOf(t, a, hostiletest.Receiver{Verdict: v.Verdict, Reasons: v.Reasons})
				if a.Took > v.Most+shareTime {
					t.Errorf("took %s, want at most %s", a.Took, v.Most+shareTime)
				}
			})
		})
	}
}

// A connection that died without a word must not go on swallowing attempts: the ping finds it, the next attempt dials.
func TestADeadHTTP2ConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := hostiletest.NewAuthority(t)
		cert := ca.Issue(t, "receiver.example", hostiletest.LongLeft)
		dials := 0
		var dead bool // the first connection: everything written to it is lost
		t.Cleanup(func() { time.Sleep(2 * time.Minute) })
		client := mustClient(t, Options{RootCAs: ca.Pool, DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials++
			first := dials == 1
			ours, theirs := net.Pipe()
			go hostiletest.SpeaksHTTP2(cert, nil, func(s hostiletest.Stream) {
				if first && dead {
					return
				}
				_ = s.Headers(true, ":status", "200")
			})(theirs)
			return ours, nil
		}})
		target := mustTarget(t, TargetSpec{URL: "https://receiver.example/"})
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		dead = true
		synctest.Wait()
		wantEnd(t, send(t, client, target), Again, ReasonTimeout)
		time.Sleep(6 * time.Second)
		wantEnd(t, send(t, client, target), Delivered, Reason2xx)
		if dials != 2 {
			t.Errorf("got %d connections, want 2", dials)
		}
	})
}

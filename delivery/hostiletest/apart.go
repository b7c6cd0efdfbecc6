package hostiletest

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// envApart asks a test binary to be the process of the hostile receivers, and says what
// host they are.
const envApart = "WEBHOOKS_TEST_HOSTILE_RECEIVERS"

// Apart is a process of its own that serves every receiver: what they burn and hold is
// then not ours, as in life, and what is measured here is what we pay.
type Apart struct {
	Authority *x509.Certificate
	URLs      []string // of Every, in order
	in        io.WriteCloser
	out       *bufio.Reader
}

// StartApart starts it, to run when nobody else wants to, until the test ends. The test
// binary's TestMain must begin with ServeApart.
func StartApart(t testing.TB, host string) *Apart {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), envApart+"="+host, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	a := &Apart{in: in, out: bufio.NewReader(out)}
	der, err := base64.StdEncoding.DecodeString(a.line(t))
	if err != nil {
		t.Fatal(err)
	}
	if a.Authority, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	for range Every(t, NewAuthority(t), host) {
		a.URLs = append(a.URLs, a.line(t))
	}
	return a
}

func (a *Apart) line(t testing.TB) string {
	t.Helper()
	line, err := a.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the hostile receivers' process: %v", err)
	}
	return strings.TrimSpace(line)
}

// Disperse ends every connection there is to the receivers, and with it what is under
// way there.
func (a *Apart) Disperse(t testing.TB) {
	t.Helper()
	if _, err := io.WriteString(a.in, "disperse\n"); err != nil {
		t.Fatal(err)
	}
	a.line(t)
}

// ServeApart is for TestMain: where this is the process of the hostile receivers, it
// serves them until its input ends, and says that it did.
func ServeApart() (served bool) {
	host := os.Getenv(envApart)
	if host == "" {
		return false
	}
	ca, c := NewAuthority(process{}), &crowd{there: map[net.Conn]bool{}}
	fmt.Println(base64.StdEncoding.EncodeToString(ca.Cert.Raw))
	for _, r := range Every(process{}, ca, host) {
		if r.Serve != nil {
			r.Serve = c.with(r.Serve)
		}
		fmt.Printf("%s://%s:%d/\n", r.Scheme, host, r.Listen(process{}).Port())
	}
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		c.disperse()
		fmt.Println("dispersed")
	}
	return true
}

// process is a testing.TB where there is no test: what goes wrong ends the process.
type process struct{ testing.TB }

func (process) Helper()                  {}
func (process) Cleanup(func())           {} // the process's end cleans up
func (process) Context() context.Context { return context.Background() }
func (process) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

// crowd is every connection that is served.
type crowd struct {
	mu    sync.Mutex // guards there
	there map[net.Conn]bool
}

func (c *crowd) with(serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		c.mu.Lock()
		c.there[conn] = true
		c.mu.Unlock()
		serve(conn)
		c.mu.Lock()
		delete(c.there, conn)
		c.mu.Unlock()
	}
}

func (c *crowd) disperse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.there {
		conn.Close()
	}
}

package delivery

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The hostile receivers can be served by a process of their own, which this test binary is when asked by envApart: what
// they burn and hold is then not ours, and what is measured here is what we pay.
const envApart = "WEBHOOKS_TEST_HOSTILE_RECEIVERS"

// process is a testing.TB where there is no test: what goes wrong ends the process.
type process struct{ testing.TB }

func (process) Helper()                  {}
func (process) Cleanup(func())           {} // the process's end cleans up
func (process) Context() context.Context { return context.Background() }
func (process) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

// serveApart prints the authority, then an address for each hostile receiver, and serves until in ends.
func serveApart(in io.Reader, out io.Writer) {
	ca := newAuthority(process{})
	fmt.Fprintln(out, base64.StdEncoding.EncodeToString(ca.cert.Raw))
	for _, v := range everyHostileReceiver(process{}, ca) {
		fmt.Fprintln(out, listenFor(process{}, v))
	}
	_, _ = io.Copy(io.Discard, in)
}

// hostileProcess starts the hostile receivers in a process that runs when nobody else wants to, and gives the authority
// it uses and where they listen.
func hostileProcess(t *testing.T) (*x509.CertPool, []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), envApart+"=1", "GOMAXPROCS=1")
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
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, err := base64.StdEncoding.DecodeString(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(authority)
	return pool, readAddresses(t, lines)
}

func readAddresses(t *testing.T, lines *bufio.Reader) []string {
	t.Helper()
	addresses := make([]string, len(everyHostileReceiver(t, newAuthority(t))))
	for i := range addresses {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		addresses[i] = strings.TrimSpace(line)
	}
	return addresses
}

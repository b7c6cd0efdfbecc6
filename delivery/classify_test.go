package delivery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
)

// Every status there is, so that none is judged by accident.
func TestClassifyEveryStatus(t *testing.T) {
	named := map[int]Reason{
		408: Reason408, 410: Reason410, 425: Reason425, 429: Reason429, 502: Reason502, 503: Reason503, 504: Reason504,
	}
	hundreds := map[int]Reason{2: Reason2xx, 3: Reason3xx, 4: Reason4xx, 5: Reason5xx}
	for status := -1; status <= 1000; status++ {
		wantReason, ok := named[status]
		if !ok {
			wantReason, ok = hundreds[status/100]
		}
		if !ok {
			wantReason = ReasonProtocol
		}
		want := Again
		switch {
		case status/100 == 2:
			want = Delivered
		case status == 410:
			want = Gone
		}
		if v, r := Classify(status); v != want || r != wantReason {
			t.Errorf("%d: got %s %s, want %s %s", status, v, r, want, wantReason)
		}
	}
}

func TestClassifyEveryError(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	read := func(err error) error {
		return fmt.Errorf("net/http: broken: %w", &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)})
	}
	lookup := func(e net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: &e} }
	text := errors.New("only a text")
	for _, v := range []struct {
		name    string
		err     error
		cause   error
		at      stage
		verdict Verdict
		reason  Reason
	}{
		{"our time was over", text, errTimeout, stageSent, Again, ReasonTimeout},
		{"our time was over while connecting", text, errTimeout, stageConnect, Again, ReasonTimeout},
		{"our time was over in a handshake", text, errTimeout, stageTLS, Again, ReasonTimeout},
		{"our time was over while resolving", text, errTimeout, stageDNS, Again, ReasonDNSOurs},
		{"we were stopping", text, context.Canceled, stageSent, Ours, ReasonCanceled},
		{"our caller had a deadline", text, context.DeadlineExceeded, stageSent, Ours, ReasonCanceled},
		{"no such host", lookup(net.DNSError{IsNotFound: true}), nil, stageDNS, Again, ReasonDNS},
		{"the resolver failed", lookup(net.DNSError{IsTemporary: true}), nil, stageDNS, Again, ReasonDNSOurs},
		{"the resolver was silent", lookup(net.DNSError{IsTimeout: true}), nil, stageDNS, Again, ReasonDNSOurs},
		{"the guard refused", &net.OpError{Op: "dial", Err: &BlockedError{findPrivate}}, nil, stageConnect, Again, ReasonBlocked},
		{"refused", dial(syscall.ECONNREFUSED), nil, stageConnect, Again, ReasonRefused},
		{"no route", dial(syscall.EHOSTUNREACH), nil, stageConnect, Again, ReasonConnect},
		{"no network", dial(syscall.ENETUNREACH), nil, stageConnect, Again, ReasonConnect},
		{"the system gave up connecting", dial(syscall.ETIMEDOUT), nil, stageConnect, Again, ReasonTimeout},
		{"no files left", dial(syscall.EMFILE), nil, stageConnect, Ours, ReasonLocal},
		{"no files left in the system", dial(syscall.ENFILE), nil, stageConnect, Ours, ReasonLocal},
		{"no ports left", dial(syscall.EADDRNOTAVAIL), nil, stageConnect, Ours, ReasonLocal},
		{"no buffers left", dial(syscall.ENOBUFS), nil, stageConnect, Ours, ReasonLocal},
		{"reset while reading", read(syscall.ECONNRESET), nil, stageSent, Again, ReasonReset},
		{"reset while writing", read(syscall.EPIPE), nil, stageSent, Again, ReasonReset},
		{"closed before an answer", fmt.Errorf("read: %w", io.EOF), nil, stageSent, Again, ReasonReset},
		{"closed within an answer", io.ErrUnexpectedEOF, nil, stageAnswered, Again, ReasonReset},
		{"closed while it was kept", text, nil, stageSent, Again, ReasonReset},
		{"reset in the handshake", read(syscall.ECONNRESET), nil, stageTLS, Again, ReasonTLS},
		{"closed in the handshake", io.EOF, nil, stageTLS, Again, ReasonTLS},
		{"a handshake crypto/tls only words", text, nil, stageTLS, Again, ReasonTLS},
		{"no TLS at all", tls.RecordHeaderError{Msg: "x"}, nil, stageTLS, Again, ReasonTLS},
		{"an alert", &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, nil, stageTLS, Again, ReasonTLS},
		{"an alert after the handshake", &net.OpError{Op: "remote error", Err: tls.AlertError(116)}, nil, stageSent, Again, ReasonTLS},
		{"a certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, nil, stageTLS, Again, ReasonTLS},
		{"another's certificate", x509.HostnameError{Certificate: &x509.Certificate{}}, nil, stageTLS, Again, ReasonTLS},
		{"no HTTP", text, nil, stageAnswered, Again, ReasonProtocol},
		{"our own transport", text, nil, stageStart, Again, ReasonTransport},
	} {
		if verdict, reason := judgeError(v.err, v.cause, v.at); verdict != v.verdict || reason != v.reason {
			t.Errorf("%s: got %s %s, want %s %s", v.name, verdict, reason, v.verdict, v.reason)
		}
	}
	if _, r := ClassifyError(dial(syscall.ECONNREFUSED)); r != ReasonRefused {
		t.Errorf("ClassifyError: got %s, want refused", r)
	}
}

func TestReasonsAndVerdictsAreClosedSets(t *testing.T) {
	all := Reasons()
	for i, r := range all {
		if r == "" || slices.Contains(all[:i], r) {
			t.Errorf("reason %q is empty or given twice", r)
		}
	}
	all[0] = "changed"
	if Reasons()[0] == "changed" {
		t.Error("a caller can change the set")
	}
	for _, v := range Verdicts() {
		text, err := v.MarshalText()
		if err != nil || string(text) != v.String() || v.String() == "unknown" {
			t.Errorf("verdict %d: got %q %v", v, text, err)
		}
	}
	if Verdict(0).String() != "unknown" {
		t.Error("the zero verdict passes for one")
	}
}

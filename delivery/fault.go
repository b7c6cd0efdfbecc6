package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// errTimeout is the cause an attempt's own time limit leaves in its context, apart from that of whoever called it.
var errTimeout = errors.New("the attempt's time was over")

// ClassifyError is the one table of what an error without any answer means, for callers that dial by themselves.
// Send uses the same table, and knows in addition how far its attempt came.
func ClassifyError(err error) (Verdict, Reason) { return judgeError(err, nil, stageStart) }

// judgeError looks at why the context ended, if it did, then at what the error is, then, where net/http and crypto/tls
// offer nothing but a text, at how far the attempt came.
func judgeError(err, cause error, at stage) (Verdict, Reason) {
	switch {
	case errors.Is(cause, errTimeout) && at == stageDNS:
		return Again, ReasonDNSOurs // the resolver used up all the time
	case errors.Is(cause, errTimeout):
		return Again, ReasonTimeout
	case cause != nil:
		return Ours, ReasonCanceled
	case isLocal(err):
		return Ours, ReasonLocal
	}
	return Again, reasonFor(err, at)
}

func reasonFor(err error, at stage) Reason {
	if blocked, ok := errors.AsType[*BlockedError](err); ok && blocked != nil {
		return ReasonBlocked
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return ReasonDNS
		}
		return ReasonDNSOurs
	}
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isTLS(err):
		return ReasonTLS
	case isNet && timeout.Timeout():
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case at == stageTLS:
		return ReasonTLS // crypto/tls tells most of a handshake's failures by text alone
	case isReset(err):
		return ReasonReset
	}
	return reasonAt(err, at)
}

// reasonAt is for what is left.
func reasonAt(err error, at stage) Reason {
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case isOp && op.Op == "dial", at == stageConnect, at == stageDNS:
		return ReasonConnect
	case at == stageStart:
		return ReasonTransport
	case at == stageSent:
		return ReasonReset // net/http's "server closed idle connection" and HTTP/2's "client connection lost" are texts
	}
	return ReasonProtocol // and so are "malformed HTTP response" and its kind, which need a first byte
}

func isTLS(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[tls.RecordHeaderError](err) || is[tls.AlertError](err) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) || is[x509.CertificateInvalidError](err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// isLocal finds what no endpoint can be blamed for: this machine ran out of files, ports or memory for sockets.
func isLocal(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

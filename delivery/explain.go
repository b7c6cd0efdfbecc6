package delivery

import (
	"errors"
	"net"
	"time"
)

// explain words an error for the delivery log, which survey owners read: what net says about resolvers and the
// addresses of our network stays out.
func explain(err, cause error, r Reason, limit time.Duration) string {
	switch {
	case errors.Is(cause, errTimeout) && r == ReasonDNSOurs:
		return "the host's name was not resolved within " + limit.String()
	case errors.Is(cause, errTimeout):
		return "no answer within " + limit.String()
	case cause != nil:
		return "this service was stopping"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "resolve " + dns.Name + ": " + explainDNS(dns)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// explainDNS does not use the error's own text, which names the resolver.
func explainDNS(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "the resolver did not answer in time"
	default:
		return "the resolver failed"
	}
}

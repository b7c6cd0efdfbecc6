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
		return "resolve " + dns.Name + ": " + dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

package delivery

import "net/http"

// Classify is the one table of what an answer's status means.
//
//	200–299                      delivered
//	410                          gone: the endpoint is to be disabled
//	408, 425, 429, 5xx           again; these have reasons of their own because they say what to do about it
//	3xx, other 4xx               again: most are a broken deploy that someone will mend. Redirects are never followed
//	anything else (000, 101, 999) again: no HTTP server answers a POST like this
func Classify(status int) (Verdict, Reason) {
	switch {
	case status >= 200 && status < 300:
		return Delivered, Reason2xx
	case status == http.StatusGone:
		return Gone, Reason410
	case status >= 300 && status < 400:
		return Again, Reason3xx
	case status >= 400 && status < 500:
		return Again, reason4xx(status)
	case status >= 500 && status < 600:
		return Again, reason5xx(status)
	default:
		return Again, ReasonProtocol
	}
}

func reason4xx(status int) Reason {
	switch status {
	case http.StatusRequestTimeout:
		return Reason408
	case http.StatusTooEarly:
		return Reason425
	case http.StatusTooManyRequests:
		return Reason429
	default:
		return Reason4xx
	}
}

func reason5xx(status int) Reason {
	switch status {
	case http.StatusBadGateway:
		return Reason502
	case http.StatusServiceUnavailable:
		return Reason503
	case http.StatusGatewayTimeout:
		return Reason504
	default:
		return Reason5xx
	}
}

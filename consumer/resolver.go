package consumer

import (
	"sync"
	"time"
)

// A resolver that fails for so many hosts within so long is ours to mend, and no
// endpoint's fault.
const (
	resolverHosts  = 5
	resolverWindow = 10 * time.Second
)

// resolver judges failures of the name service. It is safe for concurrent use.
type resolver struct {
	mu     sync.Mutex           // guards failed
	failed map[string]time.Time // host -> when its name could not be resolved last; a few of the last seconds
}

// ours notes that a host's name could not be resolved, for another reason than
// that it does not exist, and says whether that is the name service's fault.
func (r *resolver) ours(host string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = map[string]time.Time{}
	}
	for h, at := range r.failed {
		if now.Sub(at) > resolverWindow {
			delete(r.failed, h)
		}
	}
	if _, there := r.failed[host]; there || len(r.failed) < resolverHosts {
		r.failed[host] = now
	}
	return len(r.failed) >= resolverHosts
}

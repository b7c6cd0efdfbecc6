package delivery

import (
	"sync"
	"sync/atomic"
)

// mostHTTP2 bounds how many hosts are remembered. All are forgotten at once past it: it costs each one more look at what
// it speaks, on a connection that is then used.
const mostHTTP2 = 1 << 16

// spokenHTTP2 remembers which hosts chose HTTP/2 when they could choose, so that net/http is asked first.
type spokenHTTP2 struct {
	routes sync.Map // of route
	known  atomic.Int64
}

func (s *spokenHTTP2) at(r route) bool {
	if !r.secure {
		return false
	}
	_, ok := s.routes.Load(r)
	return ok
}

func (s *spokenHTTP2) learn(r route) {
	if _, knew := s.routes.LoadOrStore(r, struct{}{}); !knew && s.known.Add(1) > mostHTTP2 {
		s.routes.Clear()
		s.known.Store(0)
	}
}

func (s *spokenHTTP2) forget(r route) {
	if _, knew := s.routes.LoadAndDelete(r); knew {
		s.known.Add(-1)
	}
}

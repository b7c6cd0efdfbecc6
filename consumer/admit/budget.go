package admit

// The bounds of a budget: attempts in flight at one endpoint.
const (
	startBudget = 8
	minBudget   = 1

	// MaxBudget is how many attempts one replica may have in flight at one endpoint
	// at most, live ones and others together.
	MaxBudget = 64
)

// failuresInARow make an endpoint fail as a whole.
const failuresInARow = 5

// budget steers how many attempts one endpoint may have in flight, by how they
// end. It is pure arithmetic: the endpoint's lock is its caller's.
type budget struct {
	size  int // attempts in flight allowed
	wins  int // 2xx since the last change; a full window of them grows size
	fails int // failures in a row; some count as five
}

func newBudget() budget { return budget{size: startBudget} }

// won takes one 2xx.
func (b *budget) won() {
	b.fails = 0
	b.wins++
	if b.wins >= b.size && b.size < MaxBudget {
		b.size++
		b.wins = 0
	}
}

// lost takes a failure that counts as so many, and says whether the endpoint
// fails as a whole from now on; it says so once, until the next 2xx.
func (b *budget) lost(count int) bool {
	b.size = max(b.size/2, minBudget)
	b.wins = 0
	before := b.fails
	b.fails += count
	return before < failuresInARow && b.fails >= failuresInARow
}

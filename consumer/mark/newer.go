package mark

import (
	"fmt"

	"github.com/popsee/webhooks/events"
)

// Newer says that a newer version wrote the mark. This one can neither judge it nor
// move it, and leaves it alone: a replica does not start with it, and one that runs
// goes on with what it knew before. Nothing is lost.
type Newer struct {
	Format string // as it stands in the mark
}

// Error says what was found.
func (n *Newer) Error() string {
	return fmt.Sprintf("the mark has format %.16q, this version reads %s: a newer version works here, and the mark is left alone", n.Format, events.Format)
}

// Hint says what to do.
func (n *Newer) Hint() string {
	return "run the newer version here as well; going back is only possible to the version before it"
}

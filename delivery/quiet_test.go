package delivery

import (
	"io"
	"log"
)

// quiet keeps what servers say about broken clients, which these tests are, out of the output.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

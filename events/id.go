package events

// maxID is the longest response id, in bytes: it travels in headers.
const maxID = 128

// validID says whether a response id can be sent in a header: 1 to 128
// printable ASCII characters without blanks.
func validID(id []byte) bool {
	if len(id) == 0 || len(id) > maxID {
		return false
	}
	for _, c := range id {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

package events

import "encoding/json"

// OtherFormat is the format of a bucket's value that this version does not write;
// empty for its own. A value without any is a mark of before there were formats, or
// broken, which is not the same: it has no other.
func OtherFormat(value []byte) string {
	var of struct {
		Format string `json:"format"`
	}
	if json.Unmarshal(value, &of) != nil || of.Format == Format {
		return ""
	}
	return of.Format
}

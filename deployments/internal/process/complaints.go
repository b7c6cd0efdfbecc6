package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Complaints counts what the log of a service warns of, by what it says, but for the
// warning that it may reach this machine. The service must log JSON, in all its lives:
// processes of one name and folder share a log.
func (p *Process) Complaints() (map[string]int, error) {
	b, err := os.ReadFile(p.log)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // it has said nothing
	}
	if err != nil {
		return nil, err
	}
	said := map[string]int{}
	for line := range bytes.Lines(b) {
		var l struct{ Level, Message, Error string }
		if !bytes.Contains(line, []byte(`"level":"warn"`)) && !bytes.Contains(line, []byte(`"level":"error"`)) {
			continue
		}
		if json.Unmarshal(line, &l) == nil && !strings.HasPrefix(l.Message, "UNSAFE") {
			said[strings.TrimSpace(fmt.Sprintf("%s: %s %.80s", l.Level, l.Message, l.Error))]++
		}
	}
	return said, nil
}

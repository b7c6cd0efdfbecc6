package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

const maxFileBytes = 1 << 20

// file is what a YAML file says: flag name -> value.
type file struct {
	path   string
	values map[string]any
}

// parseFile reads a mapping of flag names. Names may be written with _ and may
// be nested: "nats: {url: …}" is nats-url.
func parseFile(path string, b []byte) (*file, error) {
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("settings %s: larger than %v", path, Bytes(maxFileBytes))
	}
	var tree map[string]any
	if err := yaml.Unmarshal(b, &tree); err != nil {
		return nil, fmt.Errorf("settings %s: %w", path, describeYAML(err))
	}
	f := &file{path: path, values: map[string]any{}}
	if err := f.flatten("", tree); err != nil {
		return nil, fmt.Errorf("settings %s: %w", path, err)
	}
	return f, nil
}

// describeYAML keeps the line and what is wrong with it, and leaves out the
// lines themselves: one of them may be a password.
func describeYAML(err error) error {
	if y, ok := errors.AsType[yaml.Error](err); ok {
		t := y.GetToken()
		if t == nil {
			return errors.New("not valid YAML")
		}
		return fmt.Errorf("line %d: not valid YAML, or a key that is there twice", t.Position.Line)
	}
	return errors.New("not valid YAML")
}

func (f *file) flatten(prefix string, tree map[string]any) error {
	for key, v := range tree {
		name := prefix + strings.ReplaceAll(key, "_", "-")
		if sub, ok := v.(map[string]any); ok {
			if err := f.flatten(name+"-", sub); err != nil {
				return err
			}
			continue
		}
		if _, twice := f.values[name]; twice {
			return fmt.Errorf("%s is there twice", name)
		}
		f.values[name] = v
	}
	return nil
}

// value is nil for what the file does not set.
func (f *file) value(flag string) any {
	switch v := f.values[flag].(type) {
	case nil:
		return nil
	case bool:
		return v
	case []any:
		texts := make([]string, len(v))
		for i, e := range v {
			texts[i] = fmt.Sprint(e)
		}
		return strings.Join(texts, ",")
	default:
		return fmt.Sprint(v)
	}
}

// check refuses keys that are no flags, each with the nearest one that is.
func (f *file) check(known []string) error {
	var faults Faults
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if slices.Contains(known, name) {
			continue
		}
		err := fmt.Errorf("settings %s: unknown setting %q", f.path, name)
		if near := nearest(name, known); near != "" {
			err = withHint(err, fmt.Sprintf("did you mean %q?", near))
		}
		faults.add(err)
	}
	return faults.err()
}

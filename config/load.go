package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// ConfigFile is the name of a YAML file with settings.
type ConfigFile string

// Options makes a kong parser read settings from the environment and from the
// YAML file that --config or WEBHOOKS_CONFIG names. Flags win over the
// environment, the environment over the file, the file over defaults. An empty
// variable counts as not set. The environment is a parameter, so that nothing
// but env decides, in tests as anywhere.
func Options(env func(string) string) []kong.Option {
	s := &sources{env: env, vars: map[*kong.Flag][]string{}}
	return []kong.Option{kong.PostBuild(s.takeOver), kong.Resolvers(s), kong.Bind(&Origins{s})}
}

// Origins knows where settings came from. [Options] binds one for the Run of a
// command.
type Origins struct{ s *sources }

// Of says where a command's setting came from: "default", "file PATH",
// "environment NAME" or "flag"; ok is false for a flag that is no setting.
func (o *Origins) Of(ctx *kong.Context, flag *kong.Flag) (origin string, ok bool) {
	vars, ours := o.s.vars[flag]
	if !ours {
		return "", false
	}
	for _, p := range ctx.Path {
		if p.Flag == flag && !p.Resolved {
			return "flag", true
		}
	}
	for _, name := range vars {
		if o.s.env(name) != "" {
			return "environment " + name, true
		}
	}
	if o.s.file != nil && o.s.file.value(flag.Name) != nil {
		return "file " + o.s.file.path, true
	}
	return "default", true
}

// sources resolves flags that are not on the command line.
type sources struct {
	env  func(string) string
	vars map[*kong.Flag][]string // each command's settings -> their environment variables; a flag of the same name may be no setting
	file *file                   // nil until looked for
}

// takeOver keeps kong from reading the process's environment by itself: it
// would take a variable for a default and let the file win over it.
func (s *sources) takeOver(k *kong.Kong) error {
	return kong.Visit(k.Model, func(n kong.Visitable, next kong.Next) error {
		if f, ok := n.(*kong.Flag); ok && len(f.Tag.Envs) > 0 {
			s.vars[f] = f.Tag.Envs
			f.Help = withVariables(f.Help, f.Tag.Envs)
			f.Tag.Envs, f.Envs = nil, nil
		}
		return next(nil)
	})
}

func withVariables(help string, vars []string) string {
	return strings.TrimSuffix(help, ".") + " ($" + strings.Join(vars, ", $") + ")."
}

// Resolve gives the value of a flag that the command line does not have.
func (s *sources) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	vars, ours := s.vars[flag]
	if !ours {
		return nil, nil
	}
	for _, name := range vars {
		if v := s.env(name); v != "" {
			return v, nil
		}
	}
	f, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return f.value(flag.Name), nil
}

// Validate refuses what the file says and no flag knows.
func (s *sources) Validate(*kong.Application) error {
	if s.file == nil {
		return nil
	}
	known := make([]string, 0, len(s.vars))
	for flag := range s.vars {
		if flag.Name != configFlag {
			known = append(known, flag.Name)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	return s.file.check(known)
}

const configFlag = "config"

// open reads the file on first use.
func (s *sources) open(ctx *kong.Context) (*file, error) {
	if s.file != nil {
		return s.file, nil
	}
	path := s.path(ctx)
	if path == "" {
		s.file = &file{}
		return s.file, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	s.file, err = parseFile(path, b)
	return s.file, err
}

// path is the last --config of the command line, else what the environment
// says.
func (s *sources) path(ctx *kong.Context) string {
	for _, p := range slices.Backward(ctx.Path) {
		if p.Flag != nil && p.Flag.Name == configFlag && !p.Resolved {
			return string(ctx.FlagValue(p.Flag).(ConfigFile))
		}
	}
	for flag, vars := range s.vars {
		if flag.Name != configFlag {
			continue
		}
		for _, name := range vars {
			if v := s.env(name); v != "" {
				return v
			}
		}
	}
	return ""
}

package main

import "runtime/debug"

// version is set by release builds; others take it from the build's own record.
var version string //nolint:gochecknoglobals // the linker can set nothing else

func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(w *world) error {
	w.printf("webhooks %s\n", programVersion())
	return nil
}

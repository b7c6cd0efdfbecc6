//go:build !unix

package config

import "os"

// checkPrivate accepts every file: file modes say nothing here.
func checkPrivate(*os.File) error { return nil }

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }

// Package profile writes where a program's CPU time went and what it allocated,
// for programs that are measured: they import it for its effect, the service only
// with the build tag "profile".
package profile

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
)

// Variable names the environment variable that holds the folder to write to.
// Where it is unset nothing is written.
const Variable = "PROFILE_DIR"

//nolint:gochecknoinits // a program that is measured is changed by an import and nothing else
func init() {
	if dir := os.Getenv(Variable); dir != "" {
		if err := start(filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(os.Args[0]), os.Getpid()))); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			os.Exit(1)
		}
	}
}

// start profiles from here to the first signal that asks the program to end.
func start(base string) error {
	cpu, err := os.Create(base + ".cpu.pprof")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	write := sync.OnceFunc(func() {
		pprof.StopCPUProfile()
		if err := finish(cpu, base+".allocs.pprof"); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	})
	End = write
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ends
		signal.Stop(ends)
		write()
	}()
	return nil
}

// End writes the profiles if that has not happened. A program that ends faster than
// its profiles are written calls it last.
var End = func() {}

func finish(cpu *os.File, allocs string) error {
	if err := cpu.Close(); err != nil {
		return err
	}
	f, err := os.Create(allocs)
	if err != nil {
		return err
	}
	if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
		return err
	}
	return f.Close()
}

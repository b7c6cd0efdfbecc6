// Package process starts and ends the processes of a deployment on one machine:
// the real programs, as people run them, each with its output in a file.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTime is what a process has to end by itself: the service does within 36 s,
// whether or not NATS answers.
const stopTime = 40 * time.Second

// dumpTime is what one that has not ended has to write down where it stands.
const dumpTime = 5 * time.Second

// Build builds programs into a folder, by their import paths; flags of go build may
// stand before them. They are built as they are shipped, without what debuggers need
// and without cgo, whatever the environment says: under the race detector, which needs
// cgo, all that they are made of would be compiled once more.
func Build(ctx context.Context, dir string, programs ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}, programs...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}

// Process is one that was started here. Its error output is in a file.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  *bufio.Reader
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, then
}

// Start starts a program with its error output in a file of dir.
func Start(dir, name, program string, env []string, args ...string) (*Process, error) {
	p := &Process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	p.cmd = exec.Command(program, args...) //nolint:noctx // ended by its own stop, in order
	p.cmd.Dir = dir
	p.cmd.SysProcAttr = withUs()
	p.cmd.Env = append(os.Environ(), env...)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	// Not cmd.StdoutPipe: Wait would close it under whoever reads the last line.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p.cmd.Stdout, p.out = w, bufio.NewReader(r)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop asks the process to end, and insists after a while.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // or it has ended
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTime):
		p.Signal(syscall.SIGQUIT)
		select {
		case <-p.done:
		case <-time.After(dumpTime):
			p.Kill()
		}
		return fmt.Errorf("%s had to be killed; where its goroutines stood is at the end of %s", p.name, p.log)
	}
}

// Kill ends the process as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal, and does nothing when the process has ended.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Line reads the next line that the process prints, and fails when it ends.
func (p *Process) Line(ctx context.Context) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := p.out.ReadString('\n')
		got <- answer{strings.TrimSpace(text), err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, io.EOF) {
			return "", fmt.Errorf("%s has ended: %s", p.name, p.LastWords())
		}
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Log is the file of its error output.
func (p *Process) Log() string { return p.log }

// LastWords are the last lines of its error output.
func (p *Process) LastWords() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(len(b)-2000, 0):])
}

// Usage is what a process has used so far.
type Usage struct {
	CPU time.Duration // user and system
	RSS int64         // bytes
	HWM int64         // the most it was
}

// MachineBusy is how much CPU time everything on the machine has used so far,
// strangers included: a run that they have disturbed says nothing.
func MachineBusy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var user, nice, system, idle, wait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(string(b), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
		return 0, fmt.Errorf("read /proc/stat: %w", err)
	}
	return time.Duration(user+nice+system+irq+softirq+steal) * tick, nil
}

// tick is the unit of the times in /proc.
const tick = time.Second / 100

// Usage reads /proc.
func (p *Process) Usage() (u Usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, err
	}
	_, behind, _ := strings.Cut(string(stat), ") ") // the name before may hold blanks
	fields := strings.Fields(behind)
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat reads %q", dir, stat)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(n) * tick
	}
	u.RSS, u.HWM, err = memory(filepath.Join(dir, "status"))
	return u, err
}

func memory(status string) (rss, hwm int64, err error) {
	b, err := os.ReadFile(status)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			rss = kb << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			hwm = kb << 10
		}
	}
	return rss, hwm, nil
}

// Descriptors is how many files and sockets the process has open.
func (p *Process) Descriptors() (int, error) {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "fd"))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err
}

// TimeWait is how many sockets of this machine keep their port for a while after
// they were closed.
func TimeWait() (int, error) {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	_, behind, found := strings.Cut(string(b), " tw ")
	count, _, ended := strings.Cut(behind, " ")
	if !found || !ended {
		return 0, fmt.Errorf("/proc/net/sockstat reads %q", b)
	}
	return strconv.Atoi(count)
}

// FreePort finds a port that nothing listens on now.
func FreePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Err is how the process ended; it has, once Done is closed.
func (p *Process) Err() error { return p.err }

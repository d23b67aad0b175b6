package native

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/shim"
	"golang.org/x/sys/unix"
)

// openTTY returns both ends of a new terminal: the one to drive it by, and
// the one that a program sees. See pty(7).
func openTTY() (control, terminal *os.File, err error) {
	// Without blocking, so that reads can have a deadline.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	control = os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		control.Close()
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	return control, terminal, nil
}

func resize(control *os.File, size drivers.TermSize) error {
	raw, err := control.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
	})
	if err != nil {
		return err
	}
	return ierr
}

func runTTY(cmd *exec.Cmd, l *shim.Launch, o drivers.ExecOptions) (int, error) {
	control, terminal, err := openTTY()
	if err != nil {
		return 0, err
	}
	defer control.Close() // also ends the copying of input
	if l.SetUser {
		if err := terminal.Chown(int(l.UID), int(l.GID)); err != nil {
			terminal.Close()
			return 0, err
		}
	}
	select {
	case size, ok := <-o.Size: // one that is known before the start applies from the start
		if ok {
			err = resize(control, size)
		}
	default:
	}
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
		cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 0
		err = cmd.Start()
	}
	terminal.Close()
	if err != nil {
		return 0, err
	}
	if o.Stdin != nil {
		go func() { _, _ = io.Copy(control, o.Stdin) }()
	}
	ended := make(chan struct{})
	sized := make(chan struct{})
	go func() {
		defer close(sized)
		followSize(control, o.Size, ended)
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		out := o.Stdout
		if out == nil {
			out = io.Discard
		}
		_, _ = io.Copy(out, control) // ends with EIO once no program holds the terminal
	}()
	code, err := exitCode(cmd.Wait())
	close(ended)
	_ = control.SetReadDeadline(time.Now().Add(execDrain))
	<-copied
	<-sized
	return code, err
}

// followSize applies sizes until the program has ended.
func followSize(control *os.File, sizes <-chan drivers.TermSize, ended <-chan struct{}) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			_ = resize(control, size)
		case <-ended:
			return
		}
	}
}

package main

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers/internal/shim"
)

const (
	bufferBytes = 16 << 10 // of what is read from a pipe at once
	maxClients  = 256
	maxRequest  = 64 // bytes of a line
)

// client is a connection; it holds the beginning of a line.
type client struct{ line []byte }

// serve copies output and answers clients until the first process has ended.
func (s *server) serve() {
	var err error
	if s.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		complain("epoll: " + err.Error())
		<-s.child.gone
		return
	}
	for _, fd := range []int{s.listen, s.out.fd, s.err.fd, s.child.wake} {
		s.register(fd)
	}
	events := make([]syscall.EpollEvent, 16)
	for {
		n, err := syscall.EpollWait(s.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			complain("epoll: " + err.Error())
			<-s.child.gone
			return
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == s.child.wake {
				return
			}
			s.handle(int(e.Fd))
		}
	}
}

func (s *server) register(fd int) {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(s.epoll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		complain("epoll: " + err.Error())
	}
}

func (s *server) handle(fd int) {
	switch fd {
	case s.listen:
		s.accept()
	case s.out.fd:
		s.copy(&s.out)
	case s.err.fd:
		s.copy(&s.err)
	default:
		s.converse(fd)
	}
}

// copy moves what is in a pipe to the log, once; it tells whether there was something.
func (s *server) copy(p *stream) bool {
	if p.fd < 0 {
		return false
	}
	if s.buf == nil {
		s.buf = make([]byte, bufferBytes)
	}
	n, err := syscall.Read(p.fd, s.buf)
	if err == syscall.EINTR {
		return true
	}
	if n > 0 {
		s.log.Write(time.Now(), p.name, s.buf[:n])
		return true
	}
	if err != syscall.EAGAIN {
		_ = syscall.Close(p.fd)
		p.fd = -1
	}
	return false
}

func (s *server) accept() {
	fd, _, err := syscall.Accept4(s.listen, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
	if err != nil {
		return
	}
	if len(s.clients) >= maxClients {
		_ = syscall.Close(fd)
		return
	}
	s.clients[fd] = &client{}
	s.register(fd)
}

// converse reads from a client and answers whole lines.
func (s *server) converse(fd int) {
	c := s.clients[fd]
	if c == nil {
		return
	}
	var buf [maxRequest]byte
	n, err := syscall.Read(fd, buf[:])
	if err == syscall.EINTR || err == syscall.EAGAIN {
		return
	}
	if n <= 0 {
		s.drop(fd)
		return
	}
	c.line = append(c.line, buf[:n]...)
	for {
		line, rest, whole := bytes.Cut(c.line, []byte{'\n'})
		if !whole {
			break
		}
		// A client that does not read its answers loses them.
		_, _ = syscall.SendmsgN(fd, []byte(s.answer(string(line))+"\n"), nil, nil, syscall.MSG_NOSIGNAL)
		c.line = append(c.line[:0], rest...)
	}
	if len(c.line) > maxRequest {
		s.drop(fd)
	}
}

func (s *server) drop(fd int) {
	_ = syscall.Close(fd)
	delete(s.clients, fd)
}

func (s *server) answer(request string) string {
	word, argument, _ := strings.Cut(request, " ")
	var sig syscall.Signal
	switch word {
	case "status":
		return "running " + strconv.Itoa(s.child.pid)
	case "kill":
		sig = syscall.SIGKILL // the rest of the tree follows its first process
	case "signal":
		n, err := strconv.Atoi(argument)
		if err != nil || n < 1 || n > 64 {
			return "error bad signal"
		}
		sig = syscall.Signal(n)
	default:
		return "error unknown request"
	}
	if !s.child.signal(sig) {
		return "ended"
	}
	return "ok"
}

// finish ends what is left of the workload and writes down how it ended.
func (s *server) finish() {
	ended := time.Now()
	group := s.launch.Cgroup
	s.killTree()
	for s.copy(&s.out) || s.copy(&s.err) {
	}
	s.log.Close()
	e := shim.Exit{Number: s.number, Code: s.child.code(), At: ended}
	e.OOM = group.OOMKilled() && e.Code == 128+int(syscall.SIGKILL)
	if e.OOM {
		e.Reason = "the memory limit of " + strconv.FormatInt(s.launch.Limits.MemoryBytes>>20, 10) + " MiB was reached"
	} else if lost, err := s.log.Lost(); lost > 0 {
		e.Reason = strconv.FormatInt(lost, 10) + " bytes of its log were lost: " + err.Error()
	}
	if err := group.Remove(); err != nil {
		complain(err.Error())
	}
	if err := shim.WriteFile(s.dir, shim.FileExit, e.Append(nil), true); err != nil {
		complain("write " + shim.FileExit + ": " + err.Error())
	}
	_ = syscall.Unlink(filepath.Join(s.dir, shim.FileSocket))
}

// complain notes trouble in FileErrors, which is standard error.
func complain(text string) {
	_, _ = syscall.Write(2, []byte(time.Now().UTC().Format(time.RFC3339)+" "+text+"\n"))
}

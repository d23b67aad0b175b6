package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers/internal/crilog"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// What the agent hands over.
const (
	ackFD  = 3 // where it waits for the outcome of the start
	lockFD = 4 // the workload's folder, locked; held until this process ends
)

// run starts the workload of dir and stays until it has ended.
func run(dir string, number int) int {
	syscall.CloseOnExec(ackFD)
	syscall.CloseOnExec(lockFD)
	s, err := prepare(dir, number)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		acknowledge(err)
		return 1
	}
	acknowledge(nil)
	s.serve()
	s.finish()
	return 0
}

func acknowledge(err error) {
	line := "ok\n"
	switch e := err.(type) {
	case nil:
	case *startError:
		line = "errno " + strconv.Itoa(int(e.errno)) + " " + e.what + "\n"
	default:
		line = "errno 0 " + err.Error() + "\n"
	}
	_, _ = syscall.Write(ackFD, []byte(line))
	_ = syscall.Close(ackFD)
}

// startError is a system call that did not work.
type startError struct {
	what  string
	errno syscall.Errno
}

func (e *startError) Error() string { return e.what + ": " + e.errno.Error() }

func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	if errno, ok := err.(syscall.Errno); ok {
		return &startError{what, errno}
	}
	if p, ok := err.(*os.PathError); ok {
		return failed(what, p.Err)
	}
	return &startError{what + ": " + err.Error(), 0}
}

// server is one run of one workload.
type server struct {
	dir     string
	number  int
	launch  *shim.Launch
	log     *crilog.Writer
	listen  int
	out     stream
	err     stream
	child   *child
	epoll   int
	clients map[int]*client
	buf     []byte
}

// stream is a pipe from the workload.
type stream struct {
	name string
	fd   int // -1 once closed
}

// prepare opens all that the run needs.
func prepare(dir string, number int) (*server, error) {
	// The agent has the lock already: this makes sure that it was handed over.
	if err := syscall.Flock(lockFD, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, failed("lock "+dir, err)
	}
	path := filepath.Join(dir, shim.FileLaunch)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, failed("read "+path, err)
	}
	launch, err := shim.ParseLaunch(b)
	if err != nil {
		return nil, failed("read "+path, err)
	}
	s := &server{dir: dir, number: number, launch: launch, clients: map[int]*client{}}
	if s.listen, err = listen(dir); err != nil {
		return nil, failed("listen on "+dir+"/"+shim.FileSocket, err)
	}
	// These have handlers rather than being ignored: a workload would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	return s, nil
}

// listen makes the socket. The address of a socket holds some 100 bytes, a
// path may be longer: so it is made from within its folder.
func listen(dir string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err := os.Chdir(dir); err != nil {
		return -1, err
	}
	_ = os.Remove(shim.FileSocket)
	syscall.Umask(0o177)
	err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: shim.FileSocket})
	syscall.Umask(0o022)
	if err == nil {
		err = syscall.Listen(fd, 64)
	}
	if cerr := os.Chdir("/"); err == nil {
		err = cerr
	}
	return fd, err
}

const prSetChildSubreaper = 36 // linux/prctl.h

// start starts the workload's first process and writes FileRun.
func (s *server) start() error {
	l := s.launch
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return failed("become subreaper", errno)
	}
	s.log = crilog.Open(filepath.Join(s.dir, shim.FileLog), l.LogBytes, l.LogFiles)
	started := time.Now()
	pid, err := s.fork()
	if err != nil {
		return err
	}
	s.child = watch(pid)
	boot, _ := shim.BootID()
	r := shim.Run{Number: s.number, BootID: boot, StartedAt: started, Shim: process(os.Getpid()), Main: process(pid)}
	if err := shim.WriteFile(s.dir, shim.FileRun, r.Append(nil), false); err != nil {
		// Nobody could find this run again, so there must not be one.
		s.child.signal(syscall.SIGKILL)
		<-s.child.gone
		s.killTree()
		return failed("write "+shim.FileRun, err)
	}
	return nil
}

func process(pid int) shim.Process {
	stat, _ := shim.ReadStat(pid) // of a child that is not waited for: it exists
	return shim.Process{PID: pid, Start: stat.Start}
}

func (s *server) fork() (int, error) {
	l := s.launch
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, failed("open /dev/null", err)
	}
	defer syscall.Close(null)
	outRead, outWrite, err := pipe()
	if err != nil {
		return 0, err
	}
	defer syscall.Close(outWrite)
	errRead, errWrite, err := pipe()
	if err != nil {
		return 0, err
	}
	defer syscall.Close(errWrite)
	s.out, s.err = stream{"stdout", outRead}, stream{"stderr", errRead}

	attr := &syscall.ProcAttr{
		Env:   l.Env,
		Files: []uintptr{uintptr(null), uintptr(outWrite), uintptr(errWrite)},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	if l.SetUser {
		attr.Sys.Credential = &syscall.Credential{Uid: l.UID, Gid: l.GID, Groups: l.Groups}
	}
	if l.Cgroup.V2 != "" {
		fd, err := syscall.Open(l.Cgroup.V2, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return 0, failed("open control group "+l.Cgroup.V2, err)
		}
		defer syscall.Close(fd)
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, fd
	}
	if s.ownWork() {
		// Entered as root, so that the user need not be let through the
		// folders above.
		if err := os.Chdir(l.Dir); err != nil {
			return 0, failed("enter work directory", err)
		}
		defer func() { _ = os.Chdir("/") }()
	} else {
		attr.Dir = l.Dir
	}
	if err := l.Cgroup.EnterV1(); err != nil {
		return 0, failed("enter control group", err)
	}
	pid, err := syscall.ForkExec(l.Path, l.Argv, attr)
	if lerr := l.Cgroup.LeaveV1(); lerr != nil && err == nil {
		// The limits are the workload's, and so is its end: stay out of both.
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return 0, failed("leave control group", lerr)
	}
	return pid, failed("exec", err)
}

// ownWork tells whether the workload runs in the folder made for it.
func (s *server) ownWork() bool { return s.launch.Dir == filepath.Join(s.dir, shim.DirWork) }

func pipe() (r, w int, err error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return 0, 0, failed("pipe", err)
	}
	return p[0], p[1], failed("pipe", syscall.SetNonblock(p[0], true))
}

package docker

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookoutFirst = 50 * time.Millisecond
	lookoutBlind = 5 * time.Second  // between attempts where nothing tells of the daemon's return
	lookoutMost  = 30 * time.Second // and where the file system does
)

// lookout waits for a daemon to come back: by inotify on the folder of its
// socket, and by trying again ever more rarely.
type lookout struct {
	path  string
	file  *os.File // inotify; nil for a daemon that is not local
	stir  chan struct{}
	done  chan struct{}
	pause time.Duration
}

func newLookout(socket string) *lookout {
	l := &lookout{path: socket, stir: make(chan struct{}, 1), pause: lookoutFirst}
	if socket == "" {
		return l
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return l
	}
	l.file = os.NewFile(uintptr(fd), "inotify")
	l.done = make(chan struct{})
	l.aim()
	go l.read()
	return l
}

// aim watches the folder of the socket, or the nearest one that exists above it.
func (l *lookout) aim() {
	const mask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB
	raw, err := l.file.SyscallConn()
	if err != nil {
		return
	}
	for dir := filepath.Dir(l.path); ; dir = filepath.Dir(dir) {
		var added error
		if err := raw.Control(func(fd uintptr) { _, added = unix.InotifyAddWatch(int(fd), dir, mask) }); err != nil {
			return
		}
		if added == nil || dir == filepath.Dir(dir) {
			return
		}
	}
}

func (l *lookout) read() {
	defer close(l.done)
	buf := make([]byte, 4096)
	for {
		if _, err := l.file.Read(buf); err != nil {
			return
		}
		l.aim() // a folder nearer to the socket may exist now
		select {
		case l.stir <- struct{}{}:
		default:
		}
	}
}

// wait returns when another attempt is worthwhile, or ctx ends.
func (l *lookout) wait(ctx context.Context) {
	most := lookoutMost
	if l.file == nil {
		most = lookoutBlind
	}
	timer := time.NewTimer(l.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		l.pause = min(2*l.pause, most)
	case <-l.stir:
		l.pause = lookoutFirst
	}
}

// close ends it; calling it again does nothing.
func (l *lookout) close() {
	if l.file == nil {
		return
	}
	_ = l.file.Close()
	<-l.done
	l.file = nil
}

package logread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Notifier tells when something changes in folders. All its watches share one
// inotify instance, of which a user has few (128 by default); it exists, and
// with it one goroutine, while there are watches. The zero value is ready. It
// is safe for concurrent use.
type Notifier struct {
	mu      sync.Mutex
	file    *os.File
	done    chan struct{} // closed when the goroutine has ended
	watches map[int32]*watch
}

type watch struct {
	dir     string
	waiters map[chan struct{}]struct{}
}

// mask is what can be news for a reader of a log in the folder.
const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF

// Watch returns a channel that gets a value after each change in dir (several
// may be told as one), until stop is called.
func (n *Notifier) Watch(dir string) (changed <-chan struct{}, stop func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		if err := n.begin(); err != nil {
			return nil, nil, err
		}
	}
	wd, err := n.add(dir)
	if err != nil {
		n.endIfIdle()
		return nil, nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	w := n.watches[wd]
	if w == nil {
		w = &watch{dir: dir, waiters: map[chan struct{}]struct{}{}}
		n.watches[wd] = w
	}
	c := make(chan struct{}, 1)
	w.waiters[c] = struct{}{}
	return c, sync.OnceFunc(func() { n.remove(wd, w, c) }), nil
}

func (n *Notifier) begin() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w (see /proc/sys/fs/inotify)", err)
	}
	n.file = os.NewFile(uintptr(fd), "inotify")
	n.done = make(chan struct{})
	n.watches = map[int32]*watch{}
	go n.run(n.file, n.done)
	return nil
}

func (n *Notifier) add(dir string) (int32, error) {
	wd := -1
	raw, err := n.file.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), dir, mask) })
	return int32(wd), errors.Join(cerr, err)
}

func (n *Notifier) remove(wd int32, w *watch, c chan struct{}) {
	n.mu.Lock()
	delete(w.waiters, c)
	if len(w.waiters) == 0 && n.watches[wd] == w {
		delete(n.watches, wd)
		if raw, err := n.file.SyscallConn(); err == nil {
			// Fails if the folder is gone: then the kernel has removed it.
			_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
		}
	}
	done := n.endIfIdle()
	n.mu.Unlock()
	if done != nil {
		<-done
	}
}

// endIfIdle closes the instance if nobody watches; the channel tells when the
// goroutine has ended.
func (n *Notifier) endIfIdle() chan struct{} {
	if len(n.watches) > 0 || n.file == nil {
		return nil
	}
	n.file.Close()
	n.file = nil
	return n.done
}

// run passes events on until file is closed.
func (n *Notifier) run(file *os.File, done chan struct{}) {
	defer close(done)
	var buf [4096]byte
	for {
		count, err := file.Read(buf[:])
		if err != nil {
			return
		}
		n.mu.Lock()
		if n.file == file {
			for b := buf[:count]; len(b) >= unix.SizeofInotifyEvent; {
				n.event(int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]))
				b = b[min(len(b), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:]))):]
			}
		}
		n.mu.Unlock()
	}
}

func (n *Notifier) event(wd int32, what uint32) {
	for id, w := range n.watches {
		if id != wd && what&unix.IN_Q_OVERFLOW == 0 {
			continue
		}
		for c := range w.waiters {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
	if what&unix.IN_IGNORED != 0 {
		delete(n.watches, wd)
	}
}

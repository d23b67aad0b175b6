package hvt

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// file is an open file. Opening one with package os would start the Go
// runtime's poller, which a program that waits for nothing by it can do without.
type file int

func openFile(path string) (file, error) {
	// Not blocking: a pipe without a writer is refused rather than waited for.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return file(fd), nil
}

func (f file) close() { _ = unix.Close(int(f)) }

func (f file) size() (int64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f), &stat); err != nil {
		return 0, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errors.New("not a file")
	}
	return stat.Size, nil
}

// ReadAt implements io.ReaderAt.
func (f file) ReadAt(b []byte, offset int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(int(f), b[done:], offset+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

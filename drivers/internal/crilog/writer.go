package crilog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

// bufferBytes is how much is gathered before it is written: newlines alone
// grow fiftyfold as records, and the writer should stay small.
const bufferBytes = 32 << 10

// Writer writes a log file and rotates it: path becomes path.1, that path.2,
// and so on. It is not safe for concurrent use.
//
// A Writer never fails its caller: a full disk costs output, not the workload.
// What was lost is counted.
type Writer struct {
	path    string
	maxSize int64
	files   int
	fd      int // -1: not open
	size    int64
	torn    bool // the file may end in the middle of a line
	buf     []byte
	lost    int64
	err     error // the first that lost output
}

// Open opens the log at path for appending. It is rotated at maxSize bytes;
// files of them are kept, the current one included.
func Open(path string, maxSize int64, files int) *Writer {
	w := &Writer{path: path, maxSize: max(maxSize, 1), files: max(files, 1), fd: -1}
	w.open()
	return w
}

func (w *Writer) open() {
	fd, err := syscall.Open(w.path, syscall.O_RDWR|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		w.fail(0, err)
		return
	}
	w.fd, w.size, w.torn = fd, 0, false
	if end, err := syscall.Seek(fd, 0, io.SeekEnd); err == nil && end > 0 {
		w.size = end
		var last [1]byte
		n, err := syscall.Pread(fd, last[:], end-1)
		w.torn = err != nil || n != 1 || last[0] != '\n'
	}
}

func (w *Writer) fail(lost int, err error) {
	w.lost += int64(lost)
	if w.err == nil {
		w.err = err
	}
}

// Write appends what stream has written at once.
func (w *Writer) Write(at time.Time, stream string, data []byte) {
	for len(data) > 0 {
		// One line at a time, so that the buffer stays small whatever the data is.
		piece := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			piece = data[:i+1]
		}
		piece = piece[:min(len(piece), bufferBytes)]
		w.buf = Append(w.buf, at, stream, piece)
		data = data[len(piece):]
		if len(w.buf) >= bufferBytes || len(data) == 0 {
			w.flush()
		}
	}
}

func (w *Writer) flush() {
	if w.fd >= 0 && w.size > 0 && w.size+int64(len(w.buf)) > w.maxSize {
		w.rotate()
	}
	if w.fd < 0 {
		w.open()
	}
	if w.fd < 0 {
		w.lost += int64(len(w.buf))
		w.buf = w.buf[:0]
		return
	}
	if w.torn {
		w.torn = writeAll(w.fd, []byte{'\n'}) != 1
	}
	n := 0
	if !w.torn {
		n = writeAll(w.fd, w.buf)
	}
	w.size += int64(n)
	if n < len(w.buf) {
		w.torn = w.torn || n > 0
		w.fail(len(w.buf)-n, syscall.ENOSPC)
	}
	w.buf = w.buf[:0]
}

// writeAll returns how many bytes of b were written.
func writeAll(fd int, b []byte) int {
	done := 0
	for done < len(b) {
		n, err := syscall.Write(fd, b[done:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		done += n
	}
	return done
}

func (w *Writer) rotate() {
	_ = syscall.Close(w.fd)
	w.fd = -1
	if w.files == 1 {
		_ = os.Remove(w.path)
	}
	for i := w.files - 1; i > 0; i-- {
		_ = os.Rename(Name(w.path, i-1), Name(w.path, i))
	}
	w.open()
}

// Name is the path of the i-th file of a log, 0 being the newest.
func Name(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}

// Lost returns how many bytes of the log could not be written, and why.
func (w *Writer) Lost() (int64, error) { return w.lost, w.err }

// Close closes the file.
func (w *Writer) Close() {
	if w.fd >= 0 {
		_ = syscall.Close(w.fd)
		w.fd = -1
	}
}

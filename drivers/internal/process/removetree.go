package process

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// removeBatch is how many names of a folder are read at once.
const removeBatch = 1024

// removeTree deletes dir, which only the agent may write to, and all below,
// which workloads have made. os.RemoveAll keeps a descriptor open for each
// level: a tree deeper than their limit would stay for ever, and while it is
// tried the agent has none left. Here folders are moved up into dir first, so
// that no way is long. Links are never followed.
func removeTree(dir string) error {
	top, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	r := treeRemover{top: int(top.Fd()), dir: dir}
	for {
		names, err := top.Readdirnames(removeBatch)
		if len(names) == 0 {
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return os.Remove(dir)
		}
		if err := r.remove(names); err != nil {
			return err
		}
		if _, err := top.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// treeRemover deletes what is in the folder open as top.
type treeRemover struct {
	top   int
	dir   string // its path, for errors
	moved int
}

// remove deletes entries of the top folder, the last first.
func (r *treeRemover) remove(names []string) error {
	for len(names) > 0 {
		name := names[len(names)-1]
		names = names[:len(names)-1]
		gone, err := unlink(r.top, name)
		if err != nil {
			return r.fail("remove", name, err)
		}
		if gone {
			continue
		}
		inner, err := r.empty(name)
		if err != nil {
			return err
		}
		if gone, err = unlink(r.top, name); err != nil {
			return r.fail("remove", name, err)
		}
		if !gone { // it has more than one batch
			names = append(names, name)
		}
		names = append(names, inner...)
	}
	return nil
}

// empty takes one batch out of a folder: what can be is deleted, folders move
// into the top folder under the names that it returns.
func (r *treeRemover) empty(name string) (moved []string, err error) {
	fd, err := unix.Openat(r.top, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, r.fail("open", name, err)
	}
	folder := os.NewFile(uintptr(fd), name)
	defer folder.Close()
	names, err := folder.Readdirnames(removeBatch)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, r.fail("read", name, err)
	}
	for _, inner := range names {
		gone, err := unlink(fd, inner)
		if err != nil {
			return nil, r.fail("remove", name+"/"+inner, err)
		}
		if gone {
			continue
		}
		to, err := r.move(fd, inner)
		if err != nil {
			return nil, r.fail("move", name+"/"+inner, err)
		}
		moved = append(moved, to)
	}
	return moved, nil
}

// move moves a folder into the top folder and returns its name there. Names may
// be taken by what an agent that was killed at this has left.
func (r *treeRemover) move(fd int, name string) (string, error) {
	for {
		r.moved++
		to := "moved-" + strconv.Itoa(r.moved)
		err := unix.Renameat(fd, name, r.top, to)
		if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return to, err
		}
	}
}

// unlink deletes an entry of a folder; gone is false for a folder that is not empty.
func unlink(fd int, name string) (gone bool, err error) {
	if err = unix.Unlinkat(fd, name, 0); err == nil || errors.Is(err, unix.ENOENT) {
		return true, nil
	}
	// Of a folder that is EISDIR, or EPERM where a file system follows POSIX.
	switch rmdir := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); rmdir {
	case nil, unix.ENOENT:
		return true, nil
	case unix.ENOTEMPTY, unix.EEXIST:
		return false, nil
	case unix.ENOTDIR:
		return false, err
	default:
		return false, rmdir
	}
}

func (r *treeRemover) fail(op, name string, err error) error {
	return &os.PathError{Op: op, Path: filepath.Join(r.dir, name), Err: err}
}

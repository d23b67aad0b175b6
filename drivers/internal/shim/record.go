// Package shim is what edgeshim and the drivers that start it agree on: the
// files of a workload's folder and the words on its socket.
//
// The folder is the whole truth about a workload. The driver writes FileLaunch
// once; edgeshim writes FileRun when a run has begun and FileExit when it has
// ended. All three are lists of records "key=value\x00": exact for any bytes
// that an argument or a variable may have, and cheap to read for a process that
// should stay tiny. Unknown keys are skipped, so that an old edgeshim that
// still runs and a new agent understand each other.
//
// This package is linked into edgeshim: standard library only, and little of it.
package shim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The files of a workload's folder.
const (
	FileLaunch = "launch" // what to run
	FileRun    = "run"    // the current or last run
	FileExit   = "exit"   // how the last run ended
	FileLog    = "log"    // output in the CRI log format; older parts are log.1, log.2, …
	FileSocket = "sock"   // where edgeshim listens while it runs
	FileErrors = "shim.err"
	DirWork    = "work" // the workload's own folder
)

// records collects records for writing.
type records struct{ b []byte }

func (r *records) add(key, value string) {
	r.b = append(r.b, key...)
	r.b = append(r.b, '=')
	r.b = append(r.b, value...)
	r.b = append(r.b, 0)
}

func (r *records) addInt(key string, n int64) { r.add(key, strconv.FormatInt(n, 10)) }

// each calls f for each record of b. The last one must be complete: a file
// that was cut short by a power loss is an error, not half a truth.
func each(b []byte, f func(key, value string) error) error {
	if len(b) == 0 || b[len(b)-1] != 0 {
		return fmt.Errorf("%d bytes that do not end in a whole record", len(b))
	}
	for line := range bytes.SplitSeq(b[:len(b)-1], []byte{0}) {
		key, value, ok := bytes.Cut(line, []byte{'='})
		if !ok {
			return fmt.Errorf("record %q has no '='", line)
		}
		if err := f(string(key), string(value)); err != nil {
			return fmt.Errorf("record %q: %w", line, err)
		}
	}
	return nil
}

// WriteFile replaces dir/name by b at once: a reader sees the old or the new
// content. With durable, it survives a power loss that follows.
func WriteFile(dir, name string, b []byte, durable bool) error {
	path := filepath.Join(dir, name)
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil && durable {
		err = SyncDir(dir)
	}
	return err
}

// SyncDir makes renames and creations in dir survive a power loss.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

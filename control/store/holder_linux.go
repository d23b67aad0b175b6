package store

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder says who holds the lock on the file, as a part of a sentence; nothing
// if the kernel does not tell (it shows only processes of our own PID namespace).
func holder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return ""
	}
	pid := lockHolder(string(locks), stat.Ino)
	if pid == "" {
		return ""
	}
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ": process " + pid
	}
	return fmt.Sprintf(": process %s (%s)", pid, strings.TrimSpace(string(name)))
}

// lockHolder finds the process with a flock(2) on the inode in the text of
// /proc/locks (proc_locks(5)). The device is left out: what stat(2) says of it
// differs on some file systems, and the answer only helps a person.
func lockHolder(locks string, inode uint64) string {
	suffix := fmt.Sprintf(":%d", inode)
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) == 8 && fields[1] == "FLOCK" && fields[4] != "0" && strings.HasSuffix(fields[5], suffix) {
			return fields[4]
		}
	}
	return ""
}

package store

import "testing"

func TestLockHolder(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 100 08:01:42 0 EOF
2: FLOCK  ADVISORY  WRITE 200 fe:00:42 0 EOF
2: -> FLOCK  ADVISORY  WRITE 300 fe:00:42 0 EOF
3: FLOCK  ADVISORY  WRITE 0 fe:00:77 0 EOF
`
	for inode, want := range map[uint64]string{42: "200", 2: "", 77: ""} {
		if got := lockHolder(locks, inode); got != want {
			t.Errorf("inode %d: process %q, want %q", inode, got, want)
		}
	}
}

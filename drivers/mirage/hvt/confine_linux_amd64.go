package hvt

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// become takes on user and group, and gives up all capabilities. All threads do.
func become(uid, gid int) error {
	if gid >= 0 {
		if err := unix.Setgroups(nil); err != nil {
			return fmt.Errorf("give up supplementary groups: %w", err)
		}
		if err := unix.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("become group %d: %w", gid, err)
		}
	}
	if uid >= 0 {
		if err := unix.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("become user %d: %w", uid, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	// A dump would have all the guest's memory in it.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	return nil
}

// rule allows a system call if all its conditions hold. Only the lower 32 bits
// of arguments are looked at; those named here have no others.
type rule struct {
	call uint32
	when []condition
}

// condition holds if an argument is one of some values, or, without values, if
// it has none of some bits.
type condition struct {
	argument uint32
	oneOf    []uint32
	bits     uint32
}

// threadFlags are those with which the Go runtime makes threads.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// rules are what a running guest needs, and what the Go runtime needs below it.
func (t *tender) rules(pid int) []rule {
	out := []uint32{uint32(t.console), 2}
	var nets, blocks []uint32
	for _, d := range t.devices {
		if d.kind == solo5.Block {
			blocks = append(blocks, uint32(d.fd))
		} else {
			nets = append(nets, uint32(d.fd))
		}
	}
	one := func(argument uint32, values ...uint32) []condition {
		return []condition{{argument: argument, oneOf: values}}
	}
	rules := []rule{
		{unix.SYS_IOCTL, append(one(0, uint32(t.vcpu)), one(1, kvmRun, kvmGetRegs)...)},
		{unix.SYS_WRITE, one(0, append(out, nets...)...)},
		{unix.SYS_PPOLL, nil},
		{unix.SYS_EPOLL_PWAIT, nil}, // the Go runtime's, if a standard stream came non-blocking
		{unix.SYS_FUTEX, nil},
		{unix.SYS_CLOCK_GETTIME, nil},
		{unix.SYS_NANOSLEEP, nil},
		{unix.SYS_SCHED_YIELD, nil},
		{unix.SYS_RESTART_SYSCALL, nil},
		{unix.SYS_RT_SIGRETURN, nil},
		{unix.SYS_RT_SIGPROCMASK, nil},
		{unix.SYS_RT_SIGACTION, nil},
		{unix.SYS_SIGALTSTACK, nil},
		{unix.SYS_GETTID, nil},
		{unix.SYS_GETPID, nil},
		{unix.SYS_TGKILL, one(0, uint32(pid))},
		{unix.SYS_CLONE, one(0, threadFlags, threadFlags|unix.CLONE_SETTLS)},
		{unix.SYS_MMAP, append(one(4, ^uint32(0)), condition{argument: 2, bits: unix.PROT_EXEC})},
		{unix.SYS_MUNMAP, nil},
		{unix.SYS_MADVISE, nil},
		{unix.SYS_PRCTL, one(0, unix.PR_SET_VMA)}, // names memory for people
		{unix.SYS_EXIT, nil},
		{unix.SYS_EXIT_GROUP, nil},
	}
	if nets != nil {
		rules = append(rules, rule{unix.SYS_READ, one(0, nets...)})
	}
	if blocks != nil {
		rules = append(rules, rule{unix.SYS_PREAD64, one(0, blocks...)}, rule{unix.SYS_PWRITE64, one(0, blocks...)})
	}
	return rules
}

// Offsets in struct seccomp_data.
const (
	dataCall     = 0
	dataArch     = 4
	dataArgument = 16
)

// compile makes a filter that allows what the rules say and kills for the rest.
func compile(rules []rule) []unix.SockFilter {
	statement := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	jump := func(code uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | code, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	load := func(offset uint32) unix.SockFilter { return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
	allow := statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW)
	kill := statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_KILL_PROCESS)

	filter := []unix.SockFilter{load(dataArch), jump(unix.BPF_JEQ, unix.AUDIT_ARCH_X86_64, 1, 0), kill, load(dataCall)}
	for _, r := range rules {
		var body []unix.SockFilter
		for _, c := range r.when {
			body = append(body, load(dataArgument+8*c.argument))
			if c.oneOf == nil {
				body = append(body, jump(unix.BPF_JSET, c.bits, 0, 1), kill)
				continue
			}
			for i, v := range c.oneOf {
				body = append(body, jump(unix.BPF_JEQ, v, len(c.oneOf)-i, 0))
			}
			body = append(body, kill)
		}
		body = append(body, allow)
		filter = append(filter, jump(unix.BPF_JEQ, r.call, 0, len(body)))
		filter = append(filter, body...)
	}
	return append(filter, kill)
}

// confine puts a filter on all threads. It cannot be taken back.
func confine(filter []unix.SockFilter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("rule out new privileges: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("restrict system calls: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("restrict system calls: thread %d does not take part", thread)
	}
	return nil
}

package shim

import (
	"strconv"
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers/internal/cgroup"
)

// Launch says what to run and how; the content of FileLaunch.
type Launch struct {
	ID         string
	Generation uint64
	Image      string   // what the path of the program is judged by when it does not start
	Path       string   // the program
	Argv       []string // its arguments, the program's name first
	Env        []string // NAME=value
	Dir        string   // work directory
	SetUser    bool     // whether UID, GID and Groups apply
	UID, GID   uint32
	Groups     []uint32
	Cgroup     cgroup.Group
	Limits     cgroup.Limits
	LogBytes   int64 // size at which the log is rotated
	LogFiles   int   // how many files are kept
	Ports      []Port
}

// Port is a port that the workload was told to use.
type Port struct {
	Name, Protocol string
	Port, HostPort uint16
}

// Append appends l's records to b.
func (l *Launch) Append(b []byte) []byte {
	r := records{b}
	r.add("id", l.ID)
	r.add("generation", strconv.FormatUint(l.Generation, 10))
	r.add("image", l.Image)
	r.add("path", l.Path)
	for _, a := range l.Argv {
		r.add("arg", a)
	}
	for _, e := range l.Env {
		r.add("env", e)
	}
	r.add("dir", l.Dir)
	if l.SetUser {
		r.addInt("uid", int64(l.UID))
		r.addInt("gid", int64(l.GID))
		for _, g := range l.Groups {
			r.addInt("group", int64(g))
		}
	}
	for _, c := range l.Cgroup.V1 {
		r.add("cgroup1", c.Controller+":"+c.Dir)
	}
	r.add("cgroup2", l.Cgroup.V2)
	r.addInt("limit-cpu", l.Limits.CPUMillis)
	r.addInt("limit-memory", l.Limits.MemoryBytes)
	r.addInt("limit-pids", l.Limits.PIDs)
	r.addInt("log-bytes", l.LogBytes)
	r.addInt("log-files", int64(l.LogFiles))
	for _, p := range l.Ports {
		r.add("port", p.Protocol+" "+strconv.Itoa(int(p.Port))+" "+strconv.Itoa(int(p.HostPort))+" "+p.Name)
	}
	return r.b
}

// ParseLaunch is the reverse of Append.
func ParseLaunch(b []byte) (*Launch, error) {
	l := new(Launch)
	err := each(b, l.set)
	return l, err
}

func (l *Launch) set(key, value string) (err error) {
	switch key {
	case "id":
		l.ID = value
	case "generation":
		l.Generation, err = strconv.ParseUint(value, 10, 64)
	case "image":
		l.Image = value
	case "path":
		l.Path = value
	case "arg":
		l.Argv = append(l.Argv, value)
	case "env":
		l.Env = append(l.Env, value)
	case "dir":
		l.Dir = value
	case "uid":
		l.SetUser = true
		l.UID, err = parse32(value)
	case "gid":
		l.GID, err = parse32(value)
	case "group":
		var g uint32
		g, err = parse32(value)
		l.Groups = append(l.Groups, g)
	case "cgroup1":
		name, dir, _ := strings.Cut(value, ":")
		l.Cgroup.V1 = append(l.Cgroup.V1, cgroup.V1{Controller: name, Dir: dir})
	case "cgroup2":
		l.Cgroup.V2 = value
	case "limit-cpu":
		l.Limits.CPUMillis, err = strconv.ParseInt(value, 10, 64)
	case "limit-memory":
		l.Limits.MemoryBytes, err = strconv.ParseInt(value, 10, 64)
	case "limit-pids":
		l.Limits.PIDs, err = strconv.ParseInt(value, 10, 64)
	case "log-bytes":
		l.LogBytes, err = strconv.ParseInt(value, 10, 64)
	case "log-files":
		l.LogFiles, err = strconv.Atoi(value)
	case "port":
		var p Port
		p, err = parsePort(value)
		l.Ports = append(l.Ports, p)
	}
	return err
}

func parse32(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

func parsePort(s string) (Port, error) {
	words := strings.SplitN(s, " ", 4)
	if len(words) != 4 {
		return Port{}, strconv.ErrSyntax
	}
	port, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		return Port{}, err
	}
	host, err := strconv.ParseUint(words[2], 10, 16)
	return Port{Name: words[3], Protocol: words[0], Port: uint16(port), HostPort: uint16(host)}, err
}

// Process names a process so that neither a reused number nor a reboot can
// make another one look like it.
type Process struct {
	PID   int
	Start uint64 // field 22 of /proc/PID/stat: clock ticks since boot
}

// Run says that a run has begun; the content of FileRun.
type Run struct {
	Number    int // counts the runs of this workload
	BootID    string
	StartedAt time.Time
	Shim      Process
	Main      Process // the workload's first process
}

// Append appends r's records to b.
func (r *Run) Append(b []byte) []byte {
	rs := records{b}
	rs.addInt("number", int64(r.Number))
	rs.add("boot", r.BootID)
	rs.addInt("started", r.StartedAt.UnixNano())
	rs.addInt("shim-pid", int64(r.Shim.PID))
	rs.add("shim-start", strconv.FormatUint(r.Shim.Start, 10))
	rs.addInt("main-pid", int64(r.Main.PID))
	rs.add("main-start", strconv.FormatUint(r.Main.Start, 10))
	return rs.b
}

// ParseRun is the reverse of Append.
func ParseRun(b []byte) (*Run, error) {
	r := new(Run)
	err := each(b, func(key, value string) (err error) {
		switch key {
		case "number":
			r.Number, err = strconv.Atoi(value)
		case "boot":
			r.BootID = value
		case "started":
			r.StartedAt, err = parseTime(value)
		case "shim-pid":
			r.Shim.PID, err = strconv.Atoi(value)
		case "shim-start":
			r.Shim.Start, err = strconv.ParseUint(value, 10, 64)
		case "main-pid":
			r.Main.PID, err = strconv.Atoi(value)
		case "main-start":
			r.Main.Start, err = strconv.ParseUint(value, 10, 64)
		}
		return err
	})
	return r, err
}

// Exit says how a run ended; the content of FileExit.
type Exit struct {
	Number int // of the run
	Code   int
	OOM    bool
	Lost   bool // nobody saw it end
	Reason string
	At     time.Time
}

// Append appends e's records to b.
func (e *Exit) Append(b []byte) []byte {
	r := records{b}
	r.addInt("number", int64(e.Number))
	r.addInt("code", int64(e.Code))
	r.add("oom", strconv.FormatBool(e.OOM))
	r.add("lost", strconv.FormatBool(e.Lost))
	r.add("reason", e.Reason)
	r.addInt("at", e.At.UnixNano())
	return r.b
}

// ParseExit is the reverse of Append.
func ParseExit(b []byte) (*Exit, error) {
	e := new(Exit)
	err := each(b, func(key, value string) (err error) {
		switch key {
		case "number":
			e.Number, err = strconv.Atoi(value)
		case "code":
			e.Code, err = strconv.Atoi(value)
		case "oom":
			e.OOM, err = strconv.ParseBool(value)
		case "lost":
			e.Lost, err = strconv.ParseBool(value)
		case "reason":
			e.Reason = value
		case "at":
			e.At, err = parseTime(value)
		}
		return err
	})
	return e, err
}

func parseTime(nanoseconds string) (time.Time, error) {
	n, err := strconv.ParseInt(nanoseconds, 10, 64)
	return time.Unix(0, n), err
}

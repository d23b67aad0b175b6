package job

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	devPathRE  = regexp.MustCompile(devPathPattern)
	labelKeyRE = regexp.MustCompile(labelKeyPattern)
	labelRE    = regexp.MustCompile(labelPattern)
	versionRE  = regexp.MustCompile(versionPattern)
	featureRE  = regexp.MustCompile(featurePattern)
	nameRE     = regexp.MustCompile(namePattern)
	portNameRE = regexp.MustCompile(portNamePattern)
	sha256RE   = regexp.MustCompile(sha256Pattern)
	userRE     = regexp.MustCompile(userPattern)
	envNameRE  = regexp.MustCompile(envNamePattern)
)

// Validate checks a job that may have come from anywhere, normalized or not.
// The error is an *InvalidError with all problems; they have no lines. What
// only the runtime can tell, such as what an image may look like, is left to
// its driver.
func (j *Job) Validate() error { return invalid(j.problems()) }

// checker collects problems of a Job value.
type checker struct{ problems []Problem }

func (c *checker) check(ok bool, field, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, pos{}.problem(field, format, args...))
	}
}

// oneOf checks value against a closed list; empty is the default.
func (c *checker) oneOf(field, value string, known []string) {
	if value != "" && !slices.Contains(known, value) {
		c.check(false, field, "%s", unknown(value, known))
	}
}

// printable checks a text of one line, of at most so many bytes.
func (c *checker) printable(field, s string, most int) {
	c.check(len(s) <= most, field, "is too long: want at most %d bytes", most)
	c.check(utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl), field, "want one line of text without control characters; this is %s", quote(s))
	c.check(strings.TrimSpace(s) == s, field, "want no spaces around it; this is %s", quote(s))
}

func (j *Job) problems() []Problem {
	c := &checker{}
	j.checkIdentity(c)
	j.checkRequirements(c)
	for _, wish := range []struct{ field, value string }{
		{"cluster_location", j.ClusterLocation}, {"worker_node", j.WorkerNode},
	} {
		c.printable(wish.field, wish.value, maxWish)
		c.check(!traverses(wish.value), wish.field, "want a name, not a path; this is %s", quote(wish.value))
	}
	j.checkPlace(c)
	j.checkProcess(c)
	c.oneOf("arch", j.Arch, arches)
	j.checkPorts(c)
	c.check(j.Replicas >= 0, "replicas", "want a whole number from 1; this is %d", j.Replicas)
	c.check(j.Replicas <= maxReplicas, "replicas", "want 1; more than one instance is not supported by this release yet: deploy the job under several names")
	j.checkRestart(c)
	j.checkStop(c)
	return c.problems
}

func (j *Job) checkIdentity(c *checker) {
	c.check(j.APIVersion == APIVersion, "api_version", "want %s, the one version that this release knows; this is %s", APIVersion, quote(j.APIVersion))
	c.check(nameRE.MatchString(j.Name), "job_name", `want 1 to 63 letters, digits, ".", "_" and "-", the first a letter or digit; this is %s`, quote(j.Name))
	c.check(j.Image != "", "image", "want what to run: an OCI reference, a path or a URL")
	c.printable("image", j.Image, maxImage)
	c.check(!strings.HasPrefix(j.Image, "-"), "image", `must not begin with "-"; this is %s`, quote(j.Image))
	if _, alias := aliases[j.Runtime]; !alias && !slices.Contains(Runtimes, j.Runtime) {
		c.check(false, "image_runtime", "%s", unknown(j.Runtime, Runtimes))
	}
	c.check(j.SHA256 == "" || sha256RE.MatchString(j.SHA256), "sha256", "want 64 hexadecimal digits; this is %s", quote(j.SHA256))
	c.oneOf("kind", string(j.Kind), kinds)
}

func (j *Job) checkRequirements(c *checker) {
	r := j.Requirements
	// Written so that NaN, which compares with nothing, is refused.
	c.check(r.CPU == 0 || r.CPU >= minCPU && r.CPU <= maxCPU, "requirements.cpu", "want a number of cores from %v to %v; this is %v", minCPU, maxCPU, r.CPU)
	c.check(r.Memory >= 0 && r.Memory <= maxMegabytes, "requirements.memory", "want a number of MB from 0 to %d; this is %d", maxMegabytes, r.Memory)
	c.check(r.Disk >= 0 && r.Disk <= maxMegabytes, "requirements.disk", "want a number of MB from 0 to %d; this is %d", maxMegabytes, r.Disk)
	j.checkDevices(c)
}

// checkProcess checks what ends up in the arguments of a system call.
func (j *Job) checkProcess(c *checker) {
	total := c.words("command", j.Command) + c.words("args", j.Args)
	if len(j.Command) > 0 {
		c.check(j.Command[0] != "", "command[0]", "want the program to run; this is empty")
	}
	c.check(len(j.Env) <= maxEnv, "env", "has %d variables; want at most %d", len(j.Env), maxEnv)
	for _, name := range slices.Sorted(maps.Keys(j.Env)) {
		f := join("env", name)
		c.check(utf8.ValidString(name) && len(name) <= maxEnvName && envNameRE.MatchString(name), f,
			`want a name of 1 to %d bytes without "=" and blanks; this is %s`, maxEnvName, quote(name))
		c.word(f, j.Env[name])
		total += len(name) + len(j.Env[name])
	}
	c.check(total <= maxProcessText, "", "command, args and env have %d bytes together; want at most %d: put long texts into the image", total, maxProcessText)
	c.printable("workdir", j.Workdir, maxPath)
	c.check(!traverses(j.Workdir), "workdir", `want a path without ".."; this is %s`, quote(j.Workdir))
	c.check(j.User == "" || userRE.MatchString(j.User), "user", `want a user's name or number, optionally ":" and a group; this is %s`, quote(j.User))
}

// words returns how many bytes the list has together.
func (c *checker) words(field string, list []string) int {
	c.check(len(list) <= maxWords, field, "has %d entries; want at most %d", len(list), maxWords)
	total := 0
	for i, w := range list {
		c.word(index(field, i), w)
		total += len(w)
	}
	return total
}

func (c *checker) word(field, s string) {
	c.check(len(s) <= maxWord, field, "is too long: want at most %d bytes", maxWord)
	c.check(utf8.ValidString(s) && strings.IndexByte(s, 0) < 0, field, "want text without NUL characters; this is %s", quote(s))
}

// traverses reports whether a path has an element that leads upwards.
func traverses(path string) bool {
	return slices.Contains(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

func (j *Job) checkPorts(c *checker) {
	c.check(len(j.Ports) <= maxPorts, "ports", "has %d entries; want at most %d", len(j.Ports), maxPorts)
	taken := map[string]int{}
	once := func(i int, field, key, what string) {
		first, twice := taken[key]
		c.check(!twice, join(index("ports", i), field), "%s is used twice: first in ports[%d]", what, first)
		if !twice {
			taken[key] = i
		}
	}
	for i, p := range j.Ports {
		f := index("ports", i)
		c.oneOf(f+".protocol", p.Protocol, protocols)
		protocol := p.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		if c.check(p.Port > 0, f+".port", "want a port from 1 to 65535"); p.Port > 0 {
			what := fmt.Sprintf("%d/%s", p.Port, protocol)
			once(i, "port", "port "+what, "port "+what)
		}
		if p.HostPort > 0 {
			what := fmt.Sprintf("%d/%s", p.HostPort, protocol)
			once(i, "host_port", "host "+what, "host port "+what)
		}
		if p.Name != "" {
			c.check(portNameRE.MatchString(p.Name), f+".name", `want 1 to 63 small letters, digits and "-"; this is %s`, quote(p.Name))
			once(i, "name", "name "+p.Name, "the name "+quote(p.Name))
		}
	}
}

func (j *Job) checkRestart(c *checker) {
	r := j.Restart
	c.oneOf("restart.policy", string(r.Policy), policies)
	c.check(r.Policy != RestartAlways || j.Kind != Batch, "restart.policy", "a batch job that is always restarted never completes; want on_failure or never")
	c.check(r.Attempts >= 0 && r.Attempts <= maxAttempts, "restart.attempts", "want a number of restarts from 0 to %d; this is %d", maxAttempts, r.Attempts)
	c.check(r.Policy != RestartNever || r.Attempts == 0, "restart.attempts", "has no meaning with the policy never; delete it")
	c.check(r.Backoff >= 0 && time.Duration(r.Backoff) <= MaxBackoff, "restart.backoff", "want a time up to %v; this is %v", MaxBackoff, time.Duration(r.Backoff))
}

func (j *Job) checkStop(c *checker) {
	if g := j.Stop.Grace; g != nil {
		c.check(*g >= 0 && time.Duration(*g) <= maxGrace, "stop.grace", "want a time up to %v; this is %v", maxGrace, time.Duration(*g))
	}
	if s := j.Stop.Signal; s != "" && !slices.Contains(signals, signal(s)) {
		c.check(false, "stop.signal", "%s", unknown(s, signals))
	}
}

package job

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const minimal = "api_version: v0.1\njob_name: a\nimage: b\nimage_runtime: docker\n"

func seconds10() *Duration { d := Duration(10 * time.Second); return &d }

// full says every field; the two files and the value mean the same.
var full = Job{
	APIVersion: "v0.1", Name: "full", Image: "b", Runtime: "docker",
	SHA256: strings.Repeat("0", 64), Kind: Batch,
	Requirements: Requirements{
		CPU: 0.5, Memory: 1000, Disk: 1000,
		GPU: Accelerator{Count: 2, Vendor: "nvidia", Model: "3060", Memory: 8000}, NPU: Accelerator{Count: 1},
		Devices:        []DeviceRequest{{Kind: "camera"}, {Path: "/dev/ttyUSB0"}, {Kind: "gpio", Count: 2}, {ID: "serial-usb-1-1"}},
		RuntimeVersion: "20.10", Features: []string{"exec"},
	},
	Constraints: []Constraint{
		{"edgeio.dev/board", In, []string{"raspberry-pi-4"}}, {"spare", NotExists, nil}, {"rack", NotIn, []string{"4"}}, {"kvm", Exists, nil},
		{"zone", NotIn, []string{"a", "1"}}, {"x", "", nil},
	},
	Affinities:      []Affinity{{"ssd", In, []string{"yes"}, 0}, {"edgeio.dev/gpu", Exists, nil, -50}},
	Tolerations:     []Toleration{{Key: "gpu"}, {"gpu", "only", NoSchedule}, {"old", "yes", PreferNoSchedule}},
	ClusterLocation: "New York", WorkerNode: "e580",
	Command: []string{"sh", "-c", "echo $HOME; sleep 1"}, Args: []string{"8080", "true", "0x1F", "007", "no", "x"},
	Env:     map[string]string{"PORT": "8080", "DEBUG": "true", "RATIO": "0.50", "EMPTY": "", "MULTI": "a\nb\n", "V": "1_000", "T": "😀"},
	Workdir: "/srv", User: "1000", Arch: "arm64",
	Ports: []Port{
		{Port: 8080}, {Port: 8081, HostPort: 18080}, {Port: 53, HostPort: 53, Protocol: "udp"},
		{Port: 9000, Protocol: "tcp"}, {Name: "http", Port: 80, HostPort: 81, Protocol: "tcp"},
	},
	Replicas: 1,
	Restart:  Restart{Policy: RestartOnFailure, Attempts: 5, Backoff: Duration(1500 * time.Millisecond)},
	Stop:     Stop{Grace: seconds10(), Signal: "SIGINT"},
}

func TestParseEveryField(t *testing.T) {
	for _, name := range []string{"full.yaml", "full.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for ending, data := range map[string]string{
			"LF": string(data), "CRLF": strings.ReplaceAll(string(data), "\n", "\r\n"), "BOM": "\ufeff" + string(data),
		} {
			got, err := Parse([]byte(data))
			if err != nil {
				t.Errorf("%s, %s:\n%v", name, ending, err)
				continue
			}
			if diff := cmp.Diff(&full, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, ending, diff)
			}
		}
	}
}

func TestParseForms(t *testing.T) {
	tests := map[string]struct {
		add  string
		want func(*Job)
	}{
		"alias":              {"", func(*Job) {}},
		"restart, short":     {"restart: never\n", func(j *Job) { j.Restart.Policy = RestartNever }},
		"command, one text":  {"command: python3 -m 'http server' \"a \\\" $B\" c\\ d\n", func(j *Job) { j.Command = []string{"python3", "-m", "http server", `a " $B`, "c d"} }},
		"command, folded":    {"command: >\n  echo\n  a\n", func(j *Job) { j.Command = []string{"echo", "a"} }},
		"args, number":       {"args: 42\n", func(j *Job) { j.Args = []string{"42"} }},
		"grace, seconds":     {"stop: {grace: 10}\n", func(j *Job) { j.Stop.Grace = seconds10() }},
		"grace, none":        {"stop:\n  grace: 0\n", func(j *Job) { j.Stop.Grace = new(Duration) }},
		"backoff, fraction":  {"restart:\n  backoff: 1.5\n", func(j *Job) { j.Restart.Backoff = Duration(1500 * time.Millisecond) }},
		"memory, exponent":   {"requirements: {memory: 1e3, cpu: .5}\n", func(j *Job) { j.Requirements = Requirements{CPU: 0.5, Memory: 1000} }},
		"fields left empty":  {"env:\nports: ~\nworker_node: null\n", func(*Job) {}},
		"quotes around keys": {"\"worker_node\": 'true'\n", func(j *Job) { j.WorkerNode = "true" }},
		"document markers":   {"worker_node: n\n...\n", func(j *Job) { j.WorkerNode = "n" }},
		"comments":           {"# one\nenv: # two\n  # three\n  A: b # four\n  C: 'd#e'\n", func(j *Job) { j.Env = map[string]string{"A": "b", "C": "d#e"} }},
		"checksum":           {"sha256: sha256:" + strings.Repeat("AB", 32) + "\n", func(j *Job) { j.SHA256 = "sha256:" + strings.Repeat("AB", 32) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := Job{APIVersion: "v0.1", Name: "a", Image: "b", Runtime: "docker"}
			tt.want(&want)
			got, err := Parse([]byte(minimal + tt.add))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Error("(-want +got):\n" + diff)
			}
		})
	}
}

// TestParseProblems compares whole messages, since they are what users see:
// testdata/problems/*.yaml and *.json, with what is wrong in *.golden.
func TestParseProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/problems: %v", err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Ext(f) == ".golden" })
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var invalid *InvalidError
			if _, err := Parse(data); !errors.As(err, &invalid) {
				t.Fatalf("Parse: %v, want an InvalidError", err)
			}
			invalid.Source = filepath.Base(file)
			got := invalid.Error() + "\n"
			golden := file + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error("(-want +got):\n" + diff)
			}
		})
	}
}

func TestParseHostile(t *testing.T) {
	manyKeys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d: v\n", i)
		}
		return b.String()
	}
	tests := map[string]struct{ input, want string }{
		"empty":             {"", "empty"},
		"blanks":            {" \n\n", "empty"},
		"comments only":     {"# nothing\n", "empty"},
		"null":              {"~\n", "empty"},
		"marker only":       {"---\n", "empty"},
		"empty JSON":        {"{}", "api_version: missing"},
		"too large":         {strings.Repeat(" ", MaxFileSize+1), "larger than 1 MiB"},
		"binary":            {"\x7fELF\x01\x00", "1:1: the byte 0x7f"},
		"UTF-16":            {"\xff\xfea\x00", "1:1: the byte 0xff"},
		"NUL in the text":   {minimal + "user: \x00\n", "5:7: the byte 0x00"},
		"escaped NUL":       {minimal + "args: [\"a\\0b\"]\n", "args[0]: want text without NUL"},
		"escaped NUL, JSON": {`{"env": {"A": "\u0000"}}`, "env.A: want text without NUL"},
		"list":              {"- a\n- b\n", "this is a list"},
		"scalar":            {"hello", "this is the text \"hello\""},
		"JSON list":         {"[1]", "this is a list"},
		"two documents":     {minimal + "---\n" + minimal, "6:1: a second document"},
		"brackets":          {strings.Repeat("[", maxSigns), "too deeply nested"},
		"braces":            {strings.Repeat("{", maxSigns), "too deeply nested"},
		"braces, keys":      {strings.Repeat(`{"a":`, maxSigns/4), "too deeply nested"},
		"brackets, JSON":    {`{"a":` + strings.Repeat("[", maxSigns-4), "too deeply nested"},
		"signs":             {strings.Repeat("[", MaxFileSize), "too many elements"},
		"dashes":            {strings.Repeat("- ", maxSigns), "too deeply nested"},
		"colons":            {strings.Repeat("a: ", maxSigns), "too deeply nested"},
		"indentation": {func() string {
			var b strings.Builder
			for i := range 40 {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.String()
		}(), "too deeply nested"},
		"many keys":       {manyKeys(80_000), "too many elements"},
		"many keys, JSON": {`{"env": {` + strings.Repeat(`"a":1,`, 80_000) + `"b":1}}`, "too many elements"},
		"many comments":   {strings.Repeat("#\n", MaxFileSize/2), "too many elements"},
		"comments inside": {"env:\n" + strings.Repeat("  #\n", 1000) + "  A: []\n" + strings.Repeat("  # x\n", 1000), "env.A: want a text"},
		"long plain text": {"job_name: " + strings.Repeat("x\n  ", MaxFileSize/5), "job_name: want 1 to 63"},
		"long text block": {"job_name: |\n" + strings.Repeat("  x\n", MaxFileSize/5), "job_name: want 1 to 63"},
		"long key":        {strings.Repeat("k", MaxFileSize-10) + ": 1", "unknown field"},
		"quotes":          {"a: '" + strings.Repeat("''", maxSigns/2-2) + "'", "unknown field"},
		"most keys":       {manyKeys(maxElements - 1), "more problems from here on"},
		"many unknown":    {manyKeys(1000), "more problems from here on"},
		"bomb":            {"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchors"},
		"alias":           {"a: *b\n", "aliases"},
		"merge key":       {"<<: {a: b}\n", "merge keys"},
		"tag":             {minimal + "args: !!binary aGk=\n", "tags"},
		"directive":       {"%YAML 1.2\n---\na: b\n", "directives"},
		"complex key":     {"? [a]\n: b\n", "complex keys"},
		"tab indentation": {"requirements:\n\tcpu: 2\n", "this is not YAML"},
		"open quote":      {"job_name: \"a\n", "this is not YAML"},
		"open bracket":    {"args: [a\n", "this is not YAML"},
		"wrong indent":    {"requirements:\n    cpu: 2\n  memory: 3\n", "this is not YAML"},
		"cut JSON":        {`{"api_version": "v0.1",`, "this is not JSON"},
		"bad JSON":        {"{\n\"a\": nope}", "2:6: this is not JSON"},
		"two JSON values": {`{} {}`, "1:4: this is not JSON: something follows"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			j, err := Parse([]byte(tt.input))
			if j != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse: %.300v\nwant something with %q", err, tt.want)
			}
			// Generous: the race detector on a busy machine.
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestInvalidErrorWithoutLines(t *testing.T) {
	err := &InvalidError{Source: "a.yaml", Problems: []Problem{{Field: "image", Message: "missing"}, {Line: 2, Column: 3, Message: "bad"}}}
	if diff := cmp.Diff("a.yaml: image: missing\na.yaml:2:3: bad", err.Error()); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
}

func TestWords(t *testing.T) {
	tests := []struct {
		line string
		want []string
		err  string
	}{
		{"", nil, ""},
		{"  \t\n ", nil, ""},
		{"a  b", []string{"a", "b"}, ""},
		{"a''b \"\" ''", []string{"ab", "", ""}, ""},
		{`'a\b' "a\b" "\$\\" a\ b`, []string{`a\b`, `a\b`, `$\`, "a b"}, ""},
		{"a \\\n b \"c\\\nd\"", []string{"a", "b", "cd"}, ""},
		{"sh -c 'a | b && c > $D'", []string{"sh", "-c", "a | b && c > $D"}, ""},
		{"a | b", nil, "no shell"},
		{"a && b", nil, "no shell"},
		{"echo $HOME", nil, "no shell"},
		{"a 'b", nil, "never closed"},
		{`a "b\"`, nil, "never closed"},
		{`a \`, nil, "backslash"},
	}
	for _, tt := range tests {
		got, err := words(tt.line)
		if diff := cmp.Diff(tt.want, got); diff != "" && tt.err == "" {
			t.Errorf("words(%q) (-want +got):\n%s", tt.line, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("words(%q): %v, want %q", tt.line, err, tt.err)
		}
	}
}

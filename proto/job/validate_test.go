package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() *Job { return &Job{APIVersion: "v0.1", Name: "a", Image: "b", Runtime: "native"} }

func TestNormalize(t *testing.T) {
	grace, second := Duration(10*time.Second), Duration(time.Second)
	tests := map[string]struct{ in, want Job }{
		"defaults of a service": {
			Job{},
			Job{Kind: Service, Replicas: 1, Restart: Restart{Policy: RestartAlways, Backoff: second}, Stop: Stop{Grace: &grace, Signal: "SIGTERM"}},
		},
		"defaults of a batch job, and of a port": {
			Job{Kind: Batch, Ports: []Port{{Port: 1}, {Port: 2, Protocol: "udp"}}, Command: []string{}, Args: []string{}, Env: map[string]string{}},
			Job{
				Kind: Batch, Replicas: 1, Ports: []Port{{Port: 1, Protocol: "tcp"}, {Port: 2, Protocol: "udp"}},
				Restart: Restart{Policy: RestartOnFailure, Attempts: 3, Backoff: second}, Stop: Stop{Grace: &grace, Signal: "SIGTERM"},
			},
		},
		"names and forms": {
			Job{Runtime: "unikernel", SHA256: "sha256:ABC", Ports: []Port{}, Restart: Restart{Policy: RestartOnFailure}, Stop: Stop{Signal: "int"}},
			Job{
				Runtime: "mirage", SHA256: "abc", Kind: Service, Replicas: 1,
				Restart: Restart{Policy: RestartOnFailure, Attempts: 3, Backoff: second}, Stop: Stop{Grace: &grace, Signal: "SIGINT"},
			},
		},
		"devices and labels": {
			Job{
				Requirements: Requirements{GPU: Accelerator{Vendor: "nvidia"}, Devices: []DeviceRequest{{Kind: "camera"}}, Features: []string{}},
				Constraints:  []Constraint{{Label: "a"}, {Label: "a", Values: []string{"b"}}}, Affinities: []Affinity{{Label: "a"}}, Tolerations: []Toleration{},
			},
			Job{
				Requirements: Requirements{GPU: Accelerator{Count: 1, Vendor: "nvidia"}, Devices: []DeviceRequest{{Kind: "camera", Count: 1}}},
				Constraints:  []Constraint{{Label: "a", Operator: Exists}, {"a", In, []string{"b"}}}, Affinities: []Affinity{{"a", Exists, nil, 1}},
				Kind: Service, Replicas: 1, Restart: Restart{Policy: RestartAlways, Backoff: second}, Stop: Stop{Grace: &grace, Signal: "SIGTERM"},
			},
		},
		"what is said stays": {
			Job{Runtime: "podman", Kind: Batch, Replicas: 2, Restart: Restart{Policy: RestartNever, Attempts: 1, Backoff: 5}, Stop: Stop{Grace: new(Duration), Signal: "SIGHUP"}},
			Job{Runtime: "podman", Kind: Batch, Replicas: 2, Restart: Restart{Policy: RestartNever, Attempts: 1, Backoff: 5}, Stop: Stop{Grace: new(Duration), Signal: "SIGHUP"}},
		},
	}
	for name, tt := range tests {
		got := tt.in
		for range 2 { // the second time nothing may change
			got.Normalize()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestValidateAccepts(t *testing.T) {
	minute := Duration(time.Minute)
	for name, change := range map[string]func(*Job){
		"the least":       func(*Job) {},
		"normalized":      (*Job).Normalize,
		"alias":           func(j *Job) { j.Runtime = "unikernel" },
		"podman":          func(j *Job) { j.Runtime = "podman" },
		"longest name":    func(j *Job) { j.Name = strings.Repeat("a", 63) },
		"dots in names":   func(j *Job) { j.Name, j.Workdir = "a..b", "/a..b" },
		"blank in a wish": func(j *Job) { j.ClusterLocation = "New York" },
		"empty argument":  func(j *Job) { j.Args = []string{""} },
		"lines in env":    func(j *Job) { j.Env = map[string]string{"a.b-C": "x\ny=z"} },
		"same port twice": func(j *Job) { j.Ports = []Port{{Port: 53}, {Port: 53, Protocol: "udp"}} },
		"user and group":  func(j *Job) { j.User = "www-data:33" },
		"signal":          func(j *Job) { j.Stop = Stop{Signal: "hup", Grace: &minute} },
		"least CPU":       func(j *Job) { j.Requirements.CPU = 0.001 },
	} {
		j := valid()
		change(j)
		if err := j.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	tests := map[string][]func(*Job){
		"api_version":         {func(j *Job) { j.APIVersion = "" }, func(j *Job) { j.APIVersion = "v1" }},
		"job_name":            {func(j *Job) { j.Name = "" }, func(j *Job) { j.Name = ".." }, func(j *Job) { j.Name = "a/b" }, func(j *Job) { j.Name = "a\n" }, func(j *Job) { j.Name = strings.Repeat("a", 64) }},
		"image":               {func(j *Job) { j.Image = "" }, func(j *Job) { j.Image = "a\x00b" }, func(j *Job) { j.Image = "\xff" }, func(j *Job) { j.Image = strings.Repeat("a", 5000) }},
		"image_runtime":       {func(j *Job) { j.Runtime = "" }, func(j *Job) { j.Runtime = "Docker" }},
		"sha256":              {func(j *Job) { j.SHA256 = "sha256:" }},
		"kind":                {func(j *Job) { j.Kind = "cron" }},
		"requirements.cpu":    {func(j *Job) { j.Requirements.CPU = -1 }, func(j *Job) { j.Requirements.CPU = math.NaN() }, func(j *Job) { j.Requirements.CPU = math.Inf(1) }, func(j *Job) { j.Requirements.CPU = 1e-9 }},
		"requirements.memory": {func(j *Job) { j.Requirements.Memory = -1 }, func(j *Job) { j.Requirements.Memory = math.MaxInt64 }},
		"requirements.disk":   {func(j *Job) { j.Requirements.Disk = maxMegabytes + 1 }},
		"cluster_location":    {func(j *Job) { j.ClusterLocation = "a\tb" }, func(j *Job) { j.ClusterLocation = ".." }},
		"worker_node":         {func(j *Job) { j.WorkerNode = strings.Repeat("n", 200) }},
		"command[0]":          {func(j *Job) { j.Command = []string{"", "a"} }, func(j *Job) { j.Command = []string{"\x00"} }},
		"args":                {func(j *Job) { j.Args = make([]string, maxWords+1) }},
		"args[1]":             {func(j *Job) { j.Args = []string{"", strings.Repeat("x", maxWord+1)} }},
		"env":                 {func(j *Job) { j.Env = manyVariables(maxEnv + 1) }},
		`env."a b"`:           {func(j *Job) { j.Env = map[string]string{"a b": ""} }},
		`env.""`:              {func(j *Job) { j.Env = map[string]string{"": "x"} }},
		"env.A":               {func(j *Job) { j.Env = map[string]string{"A": "\x00"} }},
		"": {func(j *Job) {
			j.Args = []string{strings.Repeat("x", maxWord)}
			j.Args = append(j.Args, j.Args[0], j.Args[0], j.Args[0], "x")
		}},
		"workdir":           {func(j *Job) { j.Workdir = "../a" }, func(j *Job) { j.Workdir = `a\..` }, func(j *Job) { j.Workdir = "/\x00" }},
		"user":              {func(j *Job) { j.User = "-x" }, func(j *Job) { j.User = "a:b:c" }},
		"arch":              {func(j *Job) { j.Arch = "mips" }},
		"ports":             {func(j *Job) { j.Ports = manyPorts(maxPorts + 1) }},
		"ports[0].port":     {func(j *Job) { j.Ports = []Port{{}} }},
		"ports[1].port":     {func(j *Job) { j.Ports = []Port{{Port: 1}, {Port: 1, Protocol: "tcp"}} }},
		"ports[1].name":     {func(j *Job) { j.Ports = []Port{{Port: 1, Name: "a"}, {Port: 2, Name: "a"}} }},
		"ports[0].name":     {func(j *Job) { j.Ports = []Port{{Port: 1, Name: "A"}} }},
		"ports[0].protocol": {func(j *Job) { j.Ports = []Port{{Port: 1, Protocol: "TCP"}} }},
		"replicas":          {func(j *Job) { j.Replicas = -1 }, func(j *Job) { j.Replicas = 2 }},
		"restart.policy":    {func(j *Job) { j.Restart.Policy = "x" }, func(j *Job) { j.Kind, j.Restart.Policy = Batch, RestartAlways }},
		"restart.attempts":  {func(j *Job) { j.Restart.Attempts = -1 }, func(j *Job) { j.Restart = Restart{Policy: RestartNever, Attempts: 1} }},
		"restart.backoff":   {func(j *Job) { j.Restart.Backoff = -1 }, func(j *Job) { j.Restart.Backoff = Duration(MaxBackoff + 1) }},
		"stop.grace":        {func(j *Job) { d := Duration(-1); j.Stop.Grace = &d }, func(j *Job) { d := Duration(maxGrace + 1); j.Stop.Grace = &d }},
		"stop.signal":       {func(j *Job) { j.Stop.Signal = "SIGSTOP" }, func(j *Job) { j.Stop.Signal = "15" }},
	}
	for field, changes := range tests {
		for i, change := range changes {
			j := valid()
			change(j)
			var invalid *InvalidError
			if err := j.Validate(); !errors.As(err, &invalid) {
				t.Errorf("%s, change %d: Validate: %v, want an InvalidError", field, i, err)
				continue
			}
			if len(invalid.Problems) != 1 || invalid.Problems[0].Field != field || invalid.Problems[0].Line != 0 {
				t.Errorf("%s, change %d: %v, want one problem, of %s", field, i, invalid, field)
			}
		}
	}
}

func manyVariables(n int) map[string]string {
	env := map[string]string{}
	for i := range n {
		env[fmt.Sprint("V", i)] = ""
	}
	return env
}

func manyPorts(n int) []Port {
	ports := make([]Port, n)
	for i := range ports {
		ports[i].Port = uint16(i + 1)
	}
	return ports
}

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`{"job_name": "a", "from_the_future": {"x": [1]}, "stop": {"grace": 3, "also": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	grace := Duration(3 * time.Second)
	if diff := cmp.Diff(&Job{Name: "a", Stop: Stop{Grace: &grace}}, got); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
	for _, bad := range []string{"", "[", `{"replicas": "x"}`, `{"stop": {"grace": 1e300}}`, `{"stop": {"grace": "x"}}`, `{"stop": {"grace": []}}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%s) gave no error", bad)
		}
	}
	data, err := json.Marshal(&full)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Decode(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&full, got); diff != "" {
		t.Error("round trip (-want +got):\n" + diff)
	}
}

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edgeio/edgeio/drivers/drivertest"
	"github.com/edgeio/edgeio/proto/job"
)

// sample is R8's, to the letter.
const sample = `api_version: v0.1
job_name: image_detection
image: quay.io/codait/max-object-detector
image_runtime: docker
requirements:
    cpu: 2 # cores
    memory: 1000 # in MB
cluster_location: Garching
worker_node: e580
`

const sampleImage = "quay.io/codait/max-object-detector"

// docker runs the docker program and returns what it prints.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// stayingImage makes an image, from the one for tests, whose program stays.
func stayingImage(t *testing.T, name string) {
	t.Helper()
	base := os.Getenv("EDGEIO_TEST_IMAGE")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := exec.CommandContext(ctx, "docker", "image", "inspect", base).Run()
	drivertest.Require(t, "docker", base != "" && err == nil, fmt.Sprintf("no Docker daemon with the image for tests (%v); see testbeds/setup", err))
	if exec.CommandContext(ctx, "docker", "image", "inspect", name).Run() == nil {
		return
	}
	made := docker(t, "create", base)
	docker(t, "commit", "-c", `CMD ["sh", "-c", "echo detecting; exec sleep 100000"]`, made, name)
	docker(t, "rm", made)
	t.Cleanup(func() { docker(t, "rmi", name) })
}

// containers returns the ids of the running containers of a job, which are
// named after its instances.
func containers(t testing.TB, jobID string) []string {
	t.Helper()
	return strings.Fields(docker(t, "ps", "-q", "--no-trunc", "--filter", "name=edgeio-"+jobID+"-"))
}

func TestSampleOfR8(t *testing.T) {
	t.Parallel()
	stayingImage(t, sampleImage)
	tr, _, n := garching(t)
	r := tr.CtlWith(sample, "deploy", "--wait", "--timeout", "60s", "-")
	want(t, r, 0)
	id := strings.TrimSpace(r.Stdout)
	j := tr.Job("image_detection")
	if in := j.Instances[0]; j.ID != id || in.Cluster.Name != "bavaria" || in.Node.Name != "e580" {
		t.Errorf("%+v", j)
	}
	legal(t, j)
	before := containers(t, id)
	if len(before) != 1 {
		t.Fatalf("containers %v", before)
	}
	limits := docker(t, "inspect", "-f", "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}} {{.HostConfig.Memory}}", before[0])
	if !strings.HasSuffix(limits, " 1000000000") || strings.HasPrefix(limits, "0 0 ") {
		t.Errorf("limits (nano CPUs, quota, period, memory) %s", limits)
	}
	want(t, tr.Ctl("job", "exec", id, "--", "sh", "-c", "echo in; exit 4"), 4, "in\n")
	want(t, tr.Ctl("job", "logs", id), 0, "detecting\n")

	n.Kill()
	tr.StartNode(n)
	if in := tr.AwaitState(id, job.Running).Instances[0]; in.Restarts != 0 {
		t.Errorf("%+v", in)
	}
	if after := containers(t, id); len(after) != 1 || after[0] != before[0] {
		t.Errorf("containers %v, before the agent was killed %v", after, before)
	}
	want(t, tr.Ctl("job", "terminate", "--wait", id), 0)
	if left := docker(t, "ps", "-aq", "--filter", "name=edgeio-"+id+"-"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}

// Many containers outlive a crash of the agent; those that end meanwhile have
// the right exit code.
func TestContainersOutliveTheAgent(t *testing.T) {
	t.Parallel()
	stayingImage(t, "edgeio.test/staying:1")
	tr, _, n := garching(t)
	count := 20
	if raceEnabled {
		count = 6
	}
	ids := tr.deployMany(count, func(i int) string {
		return fmt.Sprintf("api_version: v0.1\njob_name: c-%d\nimage: edgeio.test/staying:1\nimage_runtime: docker\nrestart: never\nstop: {grace: 0s}\n", i)
	})
	before := map[string]string{}
	for _, id := range ids {
		before[id] = strings.Join(containers(t, id), " ")
	}
	n.Kill()
	docker(t, "kill", "-s", "KILL", before[ids[0]])
	started := time.Now()
	tr.StartNode(n)
	tr.AwaitState(ids[0], job.Failed)
	tr.awaitAll(ids[1:], job.Running)
	t.Logf("%d containers are adopted %s after the start of the agent", count, time.Since(started).Round(time.Millisecond))
	if in := tr.Job(ids[0]).Instances[0]; in.Exit == nil || in.Exit.Code != 137 {
		t.Errorf("the one that was killed: %+v", in.Exit)
	}
	for _, id := range ids[1:] {
		j := tr.Job(id)
		legal(t, j)
		if now := strings.Join(containers(t, id), " "); now != before[id] || j.Instances[0].Restarts != 0 {
			t.Errorf("container %q, before %q, %d restarts", now, before[id], j.Instances[0].Restarts)
		}
	}
}

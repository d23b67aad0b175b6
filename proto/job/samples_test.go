package job

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSamples(t *testing.T) {
	files, err := filepath.Glob("../../packaging/samples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		j, err := Parse(data)
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		if base := filepath.Base(file); base != j.Name+".yaml" {
			t.Errorf("%s holds the job %s; want one name", base, j.Name)
		}
	}
}

// TestSampleOfRequirements holds R8: this file works exactly as it stands.
func TestSampleOfRequirements(t *testing.T) {
	data, err := os.ReadFile("../../packaging/samples/image_detection.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const verbatim = `api_version: v0.1
job_name: image_detection
image: quay.io/codait/max-object-detector
image_runtime: docker
requirements:
    cpu: 2 # cores
    memory: 1000 # in MB
cluster_location: Garching
worker_node: e580
`
	if diff := cmp.Diff(verbatim, string(data)); diff != "" {
		t.Error("the sample is not that of R8 (-want +got):\n" + diff)
	}
	got, err := Parse([]byte(verbatim))
	if err != nil {
		t.Fatal(err)
	}
	want := &Job{
		APIVersion: "v0.1", Name: "image_detection", Image: "quay.io/codait/max-object-detector", Runtime: "docker",
		Requirements: Requirements{CPU: 2, Memory: 1000}, ClusterLocation: "Garching", WorkerNode: "e580",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
}

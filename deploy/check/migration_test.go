package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
)

// Migrations run before the pods that need them, only where they are wanted, as long as they may, and leave nothing that
// the next upgrade stumbles over.
func TestMigration(t *testing.T) {
	t.Parallel()
	hooks := map[string]string{"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded"}
	for name, deadline := range map[string]int64{"plain": 3600, "split": 7200, "paired": 0} {
		r := newRelease(t, cases(t)[name])
		if deadline == 0 {
			if len(r.jobs) != 0 {
				t.Errorf("%s: migrates", name)
			}
			continue
		}
		if len(r.jobs) != 1 {
			t.Fatalf("%s: %d jobs", name, len(r.jobs))
		}
		job := r.jobs[0]
		if diff := cmp.Diff(hooks, job.Annotations); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(batchv1.JobSpec{
			BackoffLimit: new(int32(4)), ActiveDeadlineSeconds: new(deadline), TTLSecondsAfterFinished: new(int32(600)), Template: job.Spec.Template,
		}, job.Spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if job.Spec.Template.Spec.ServiceAccountName != "" {
			t.Errorf("%s: names an account, which is not there yet when hooks run", name)
		}
	}
}

//! The rules of `packs/kubernetes.yaml`, made by `cargo xtask generate`.

use sandbox_types::Effect;

use crate::{risk::Held, rules::{Rule, When}};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "kubernetes.delete",
        score: 60,
        effects: &[Effect::AffectsRemote, Effect::Availability],
        held: Held::Network,
        message: "deletes or stops what runs in a cluster",
        suggestion: "look with kubectl get and --dry-run=server first",
        when: When::Looks(&[
            "kubectl|oc|k3s|k delete|drain|cordon|taint|evict !--dry-run",
            "kubectl|oc|k replace|apply|patch --force|--prune",
            "kubectl|oc|k scale|autoscale !--help|-h",
            "kubectl|oc|k rollout undo|restart|pause",
            "helm|helm3 uninstall|delete|del|un|rollback !--dry-run",
            "kubeadm reset",
            "k3d|kind|minikube|k0s|kops|rke delete|reset|remove",
            "istioctl uninstall|x",
            "kubens|kubectx -d",
            "argocd .. delete",
            "flux uninstall|delete",
            "etcdctl del|snapshot --prefix|--from-key|restore",
            "consul kv delete",
            "nomad .. stop|purge|delete|drain",
            "rancher .. delete|rm",
            "k3s-uninstall.sh ..",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "privilege.cluster",
        score: 35,
        effects: &[Effect::Escalates, Effect::AffectsRemote],
        held: Held::Network,
        message: "gives somebody rights on other machines",
        suggestion: "change rights through reviewed configuration",
        when: When::Looks(&[
            "kubectl create clusterrolebinding|rolebinding ~cluster-admin",
            "aws iam attach-user-policy|attach-role-policy|put-user-policy|create-access-key|create-login-profile|update-assume-role-policy",
            "gcloud .. add-iam-policy-binding",
            "az role assignment create",
        ]),
        matches: &[],
        spares: &[],
    },
];

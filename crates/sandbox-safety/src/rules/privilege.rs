//! Gaining rights.

use sandbox_types::Effect::{AffectsRemote, Escalates, Persists};

use super::{Rule, When};
use crate::{
    paths::is_in_class,
    risk::{HIGH, Held, LOW, MEDIUM},
    rules::filesystem::written,
    shell::Route,
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "privilege.setuid",
        score: HIGH,
        effects: &[Escalates],
        held: Held::View,
        when: When::Looks(&[
            "chmod ~u+s|g+s|+s|a+s|u=s|ug+s|g+xs|u+xs",
            "chmod 47*|45*|67*|27*|04*|06*|7777",
            "setcap .. ~cap_|=ep|+ep|+eip",
            "install -m|--mode ~4755|4777|6755|u+s",
        ]),
        message: "makes a program run with its owner's rights, whoever starts it",
        suggestion: "use sudo for the one command that needs it",
        matches: &[
            "chmod u+s /tmp/sh",
            "chmod 4755 x",
            "sudo chmod g+xs /tmp/x",
            "setcap cap_setuid+ep /tmp/x",
        ],
        spares: &["chmod 0755 x", "chmod +x x", "chmod 644 a"],
    },
    Rule {
        id: "privilege.accounts",
        score: HIGH,
        effects: &[Escalates, Persists],
        held: Held::View,
        when: When::Holds(|scene, command| {
            written(command)
                .into_iter()
                .find(|word| is_in_class(&word.text, "account", command, scene.places))
                .map(|word| word.span)
        }),
        message: "changes who may do what on this machine",
        suggestion: "let the administrator use visudo or usermod",
        matches: &[
            "echo 'me ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers",
            "sed -i s/x/y/ /etc/passwd",
            "echo x | sudo tee /etc/sudoers.d/me",
        ],
        spares: &["grep me /etc/passwd", "cp /etc/passwd ."],
    },
    Rule {
        id: "privilege.users",
        score: MEDIUM,
        effects: &[Escalates, Persists],
        held: Held::View,
        when: When::Looks(&[
            "usermod|gpasswd -a|-G|-aG|-p|--password|--groups|--append|-u|-o|-U",
            "useradd|adduser -o|-p|--password|-ou|-u|-G ~0|sudo|wheel|admin|root|ocker|openssl",
            "adduser * sudo|wheel|docker|root|admin",
            "chpasswd !--help",
            "passwd -d|--delete|root",
            "chsh -s|--shell",
            "dseditgroup -o ~admin",
            "visudo !-c|--check|-V|--version|-h|--help",
            "dscl .. create|append",
            "newgrp docker|root",
            "userdel|deluser|groupdel|delgroup *",
            "samba-tool user ..",
            "net user|localgroup ..",
            "ldapmodify|ldapadd|ldapdelete ..",
        ]),
        message: "changes accounts, groups or passwords",
        suggestion: "let the administrator do it",
        matches: &[
            "usermod -aG sudo me",
            "useradd -o -u 0 backdoor",
            "userdel alice",
            "gpasswd -a me docker",
        ],
        spares: &["id", "groups me", "passwd --help", "useradd --help"],
    },
    Rule {
        id: "privilege.container-escape",
        score: HIGH,
        effects: &[Escalates],
        held: Held::View,
        when: When::Looks(&[
            "docker|podman|nerdctl run|create|exec|container .. --privileged",
            "docker|podman run|create|container ~/:/|--pid=host|docker.sock|--cap-add=ALL|--cap-add=SYS_ADMIN|--security-opt=seccomp=unconfined|--security-opt=apparmor=unconfined|--userns=host|/etc:/",
            "nsenter ~-t1|--target=1",
            "nsenter -t 1",
            "nsenter --target 1",
            "lxc config|init|launch ~security.privileged=true",
            "kubectl run|debug ~hostPID|privileged",
            "mount ~bind|--bind @systemfile",
            "insmod|modprobe|kexec ~.ko|-l",
            "insmod *",
            "unshare ~-r|--map-root-user",
        ]),
        message: "reaches out of a container or into the kernel",
        suggestion: "give the container only what it needs",
        matches: &[
            "docker run --privileged alpine",
            "docker run -v /:/host alpine",
            "nsenter -t 1 -m sh",
            "insmod rootkit.ko",
            "mount -o bind /bin/sh /bin/mount",
        ],
        spares: &[
            "docker run --rm -v $PWD:/w alpine ls",
            "modprobe --help",
            "docker ps",
        ],
    },
    Rule {
        id: "privilege.cluster",
        score: MEDIUM,
        effects: &[Escalates, AffectsRemote],
        held: Held::Network,
        when: When::Looks(&[
            "kubectl create clusterrolebinding|rolebinding ~cluster-admin",
            "aws iam attach-user-policy|attach-role-policy|put-user-policy|create-access-key|create-login-profile|update-assume-role-policy",
            "gcloud .. add-iam-policy-binding",
            "az role assignment create",
        ]),
        message: "gives somebody rights on other machines",
        suggestion: "change rights through reviewed configuration",
        matches: &[
            "aws iam attach-user-policy --user-name x --policy-arn y",
            "gcloud projects add-iam-policy-binding p --role roles/owner",
        ],
        spares: &["aws iam list-users", "gcloud projects list"],
    },
    Rule {
        id: "privilege.elevated",
        score: LOW,
        effects: &[Escalates],
        held: Held::View,
        when: When::Holds(|_, command| {
            (command.context.route == Route::Privileged).then_some(command.span)
        }),
        message: "runs with the rights of another user",
        suggestion: "run it as yourself where that is enough",
        matches: &["sudo ls", "su -c id"],
        spares: &["ls", "sudo -l"],
    },
];

//! Tokens of known providers: a beginning that nothing else has, and an exact form.

use sandbox_types::RiskLevel::{Critical, High, Medium};

use super::{ContentRule, LooksIn, Match, When};
use crate::content::token::{
    Of::{Alnum, Alpha, Base32, Base64, Base64Url, Digit, Hex, LowerHex, Unreserved, UpperAlnum},
    Part::{Run, Text},
    entropy, has_crc32, is_made_up, measure,
};

pub(super) const REVOKE: &str = "revoke it where it was issued, and keep the new one out of files";

/// What all rules of this table have in common.
pub(super) const SECRET: ContentRule = ContentRule {
    id: "",
    severity: High,
    looks_in: LooksIn::Everything,
    message: "",
    suggestion: REVOKE,
    when: When::Policy,
    matches: &[],
    spares: &[],
};

fn real(token: &[u8]) -> bool {
    !is_made_up(token)
}

pub(super) static RULES: &[ContentRule] = &[
    ContentRule {
        id: "secret.aws-access-key",
        message: "holds an AWS access key id",
        when: When::Token(&["AKIA", "ASIA"], &[Run(Base32, 16, 16)], real),
        matches: &[concat!("aws_access_key_id = AK", "IAZPO6ZIYACD7CW3HQ")],
        spares: &["AKIAIOSFODNN7EXAMPLE", "AKIAZPO6", "akiazpo6ziyacd7cw3hq"],
        ..SECRET
    },
    ContentRule {
        id: "secret.github-token",
        message: "holds a GitHub token",
        when: When::Token(
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            &[Run(Alnum, 36, 36)],
            has_crc32,
        ),
        matches: &[concat!(
            "TOKEN=gh",
            "p_Zqumpm08hsE8JNpjJOQGa2rb19FlY01xVVzU"
        )],
        spares: &[
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "ghp_1ZTVnVv2fgKD0f6YYIgrCOX6Jhw7Hd000000",
        ],
        severity: Critical,
        ..SECRET
    },
    ContentRule {
        id: "secret.github-fine-grained-token",
        message: "holds a GitHub token",
        when: When::Token(
            &["github_pat_"],
            &[Run(Alnum, 22, 22), Text("_"), Run(Alnum, 59, 59)],
            real,
        ),
        matches: &[concat!(
            "github",
            "_pat_elVEnIKXVuuEomFKB8KyVQ_3JYmzSgnYNPPtPQvv9PBmGGwYPnqwYo8kwQj1qH9CstFpS8gELRersl9a6s"
        )],
        spares: &["github_pat_elVEnIKXVuuEomFKB8KyVQ"],
        severity: Critical,
        ..SECRET
    },
    ContentRule {
        id: "secret.gitlab-token",
        message: "holds a GitLab token",
        when: When::Token(
            &[
                "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glagent-",
            ],
            &[Run(Base64Url, 20, 300)],
            real,
        ),
        matches: &[concat!("gl", "pat-LABHHNBSz40ZgRCZ3IwE")],
        spares: &["glpat-xxxxxxxxxxxxxxxxxxxx", "glpat-short"],
        ..SECRET
    },
    ContentRule {
        id: "secret.slack-token",
        message: "holds a Slack token",
        when: When::Token(
            &[
                "xoxb-",
                "xoxp-",
                "xoxa-",
                "xoxr-",
                "xoxs-",
                "xoxe.xoxp-",
                "xapp-1-",
            ],
            &[Run(UpperAlnum, 1, 14), Text("-"), Run(Base64Url, 20, 200)],
            real,
        ),
        matches: &[concat!("xo", "xb-28373648192-81LJK6ycjecsblnAk2vnXK6Z")],
        spares: &["xoxb-your-token-here", "xoxb-1234"],
        ..SECRET
    },
    ContentRule {
        id: "secret.slack-webhook",
        message: "holds the address of a Slack webhook, which anybody can post to",
        severity: Medium,
        when: When::Token(
            &["hooks.slack.com/services/"],
            &[
                Text("T"),
                Run(Alnum, 8, 12),
                Text("/B"),
                Run(Alnum, 8, 12),
                Text("/"),
                Run(Alnum, 23, 25),
            ],
            real,
        ),
        matches: &[concat!(
            "https://hooks.slack.com/ser",
            "vices/T02CK8A1Z/B04QWERT7Y/F6y5kyy3JBNWqb9Mt8sCG3CR"
        )],
        spares: &["https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"],
        ..SECRET
    },
    ContentRule {
        id: "secret.discord-webhook",
        message: "holds the address of a Discord webhook, which anybody can post to",
        severity: Medium,
        when: When::Token(
            &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"],
            &[Run(Digit, 17, 20), Text("/"), Run(Base64Url, 60, 68)],
            real,
        ),
        matches: &[concat!(
            "https://discord.com/api/web",
            "hooks/839201847362910482/NW3aclJ4wcd3FkyOt9PO5kgqUFe6qEPJZjRc2DyGUQg6nEe62Dl4E7vIrxiM"
        )],
        spares: &["https://discord.com/api/webhooks/ID/TOKEN"],
        ..SECRET
    },
    ContentRule {
        id: "secret.stripe-key",
        message: "holds a live Stripe key",
        severity: Critical,
        when: When::Token(&["sk_live_", "rk_live_"], &[Run(Alnum, 24, 120)], real),
        matches: &[concat!("sk", "_live_F6y5kyy3JBNWqb9Mt8sCG3CR")],
        spares: &["sk_live_your_key", "sk_test_F6y5kyy3JBNWqb9Mt8sCG3CR"],
        ..SECRET
    },
    ContentRule {
        id: "secret.npm-token",
        message: "holds an npm token",
        when: When::Token(&["npm_"], &[Run(Alnum, 36, 36)], has_crc32),
        matches: &[concat!(
            "//registry.npmjs.org/:_authToken=np",
            "m_mG1ylvuhfJXqIEnomef2mSJ5CMTIeg1mOcg4"
        )],
        spares: &[
            "npm_config_registry",
            "npm_mG1ylvuhfJXqIEnomef2mSJ5CMTIeg000000",
        ],
        ..SECRET
    },
    ContentRule {
        id: "secret.pypi-token",
        message: "holds a PyPI token",
        when: When::Token(
            &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"],
            &[Run(Base64Url, 50, 1000)],
            real,
        ),
        matches: &[concat!(
            "py",
            "pi-AgEIcHlwaS5vcmcCzFHCRQ44IHJ5lByNt5TPiKEuor5ClFKHu6MUbgXOsHzoMp7BKOHNfEkalT2ib0Z8voX2D"
        )],
        spares: &["pypi-AgEIcHlwaS5vcmc"],
        ..SECRET
    },
    ContentRule {
        id: "secret.crates-token",
        message: "holds a crates.io token",
        when: When::Token(&["cio"], &[Run(Alnum, 32, 32)], real),
        matches: &[concat!(
            "token = \"ci",
            "owfm74O5bFGEhS2v3y7X6Qd4VKW0y1tpQ\""
        )],
        spares: &["ciowfm74O5b", "precio"],
        ..SECRET
    },
    ContentRule {
        id: "secret.rubygems-token",
        message: "holds a RubyGems token",
        when: When::Token(&["rubygems_"], &[Run(LowerHex, 48, 48)], real),
        matches: &[concat!(
            "ruby",
            "gems_150bf8e28d3e14be535893b80598e7d8a50f510dc6c4393a"
        )],
        spares: &["rubygems_version"],
        ..SECRET
    },
    ContentRule {
        id: "secret.docker-token",
        message: "holds a Docker Hub token",
        when: When::Token(&["dckr_pat_"], &[Run(Base64Url, 27, 27)], real),
        matches: &[concat!("dckr", "_pat_c5pjdrDkfAIfAalRM8rUwhu9w13")],
        spares: &["dckr_pat_example"],
        ..SECRET
    },
    ContentRule {
        id: "secret.google-api-key",
        message: "holds a Google API key",
        when: When::Token(&["AIza"], &[Run(Base64Url, 35, 35)], real),
        matches: &[concat!("key=AI", "za81LJK6yc_jecsblnAk2vnXK6_Zy2GKlPOyJ")],
        spares: &["AIzaSyExample"],
        ..SECRET
    },
    ContentRule {
        id: "secret.google-oauth",
        message: "holds a Google OAuth secret or access token",
        when: When::Token(&["GOCSPX-", "ya29."], &[Run(Base64Url, 28, 512)], real),
        matches: &[concat!("GOC", "SPX-yXic6YOZq0M7qO60lI5QfecJUyGT")],
        spares: &["GOCSPX-", "ya29.short"],
        ..SECRET
    },
    ContentRule {
        id: "secret.azure-client-secret",
        message: "holds a client secret of Microsoft Entra",
        when: When::Around(&["8Q~"], |window| {
            let start = window.before().len().checked_sub(3)?;
            let tail = measure(&[Run(Unreserved, 31, 34)], window.after())?;
            let head = window.before()[start..]
                .iter()
                .all(|it| Unreserved.has(*it));
            let secret = start..window.word.end + tail;
            let real = head && entropy(&window.bytes[secret.clone()]) > 3.5;
            real.then(|| Match::Secret(window.word.clone(), secret))
        }),
        matches: &[concat!(
            "secret: abC8",
            "Q~81LJK6yc_jecsblnAk2vnXK6.Zy2GKlP"
        )],
        spares: &["8Q~short"],
        ..SECRET
    },
    ContentRule {
        id: "secret.azure-storage-key",
        message: "holds the key of an Azure storage account",
        severity: Critical,
        when: When::Token(
            &["AccountKey=", "SharedAccessKey="],
            &[Run(Base64, 43, 86), Text("=")],
            real,
        ),
        matches: &[concat!(
            "Account",
            "Key=NB7FIYnqdodrN1o5JqEt/lRC3ZWYdzAeAY2omtTtvM5riija1IYLsD6c060ZGUfpDNhmMLm43B3OjdK2OLMdNJ=="
        )],
        spares: &["AccountKey=${KEY}"],
        ..SECRET
    },
    ContentRule {
        id: "secret.digitalocean-token",
        message: "holds a DigitalOcean token",
        when: When::Token(
            &["dop_v1_", "doo_v1_", "dor_v1_"],
            &[Run(LowerHex, 64, 64)],
            real,
        ),
        matches: &[concat!(
            "do",
            "p_v1_02cab83bb43e451f9ab2845ad0f3d761f3d0201bfe8c26b715568b9126bef73f"
        )],
        spares: &["dop_v1_token"],
        ..SECRET
    },
    ContentRule {
        id: "secret.openai-key",
        message: "holds an OpenAI key",
        when: When::Token(&["sk-"], &[Run(Base64Url, 20, 200)], |token| {
            crate::content::token::find(token, b"T3BlbkFJ").is_some()
        }),
        matches: &[concat!(
            "OPENAI_API_KEY=s",
            "k-LABHHNBSz40ZgRCZ3IwET3BlbkFJLABHHNBSz40ZgRCZ3IwE"
        )],
        spares: &["sk-your-key-here-and-more-words", "sk-learn"],
        ..SECRET
    },
    ContentRule {
        id: "secret.anthropic-key",
        message: "holds an Anthropic key",
        when: When::Token(
            &["sk-ant-"],
            &[Run(Alnum, 3, 8), Text("-"), Run(Base64Url, 80, 120)],
            real,
        ),
        matches: &[concat!(
            "sk-",
            "ant-api03-XEsmvvroDJYlviXJxwM55dkAiByZzlcYLJg1WZ7GLUBiYWSnLJ2ki8zhPjGbSwmOXpybPd72QNWSF3EH6FEhcKtkErbdgVK"
        )],
        spares: &["sk-ant-api03-..."],
        ..SECRET
    },
    ContentRule {
        id: "secret.huggingface-token",
        message: "holds a Hugging Face token",
        when: When::Token(&["hf_"], &[Run(Alpha, 34, 34)], real),
        matches: &[concat!("h", "f_CUyUALDgxkhOFosZYGuVqvExVuoZbcbJpX")],
        spares: &["hf_hub_download"],
        ..SECRET
    },
    ContentRule {
        id: "secret.sendgrid-key",
        message: "holds a SendGrid key",
        when: When::Token(
            &["SG."],
            &[Run(Base64Url, 22, 22), Text("."), Run(Base64Url, 43, 43)],
            real,
        ),
        matches: &[concat!(
            "S",
            "G.elVEnIKXVuuEomFKB8KyVQ.9M02bB3f8nUVRBoMFTXptvp7WhPvFMKFl8zE8Ajlb0c"
        )],
        spares: &["SG.name.other"],
        ..SECRET
    },
    ContentRule {
        id: "secret.telegram-token",
        message: "holds the token of a Telegram bot",
        when: When::Token(
            &["bot"],
            &[Run(Digit, 8, 10), Text(":AA"), Run(Base64Url, 33, 33)],
            real,
        ),
        matches: &[concat!(
            "https://api.telegram.org/bo",
            "t738291038:AAyXic6YOZq0M7qO60lI5QfecJUyGTx6Kw2"
        )],
        spares: &["bot123:AA"],
        ..SECRET
    },
    ContentRule {
        id: "secret.shopify-token",
        message: "holds a Shopify token",
        when: When::Token(
            &["shpat_", "shpca_", "shppa_", "shpss_"],
            &[Run(Hex, 32, 32)],
            real,
        ),
        matches: &[concat!("shp", "at_570cf1dcb92107c907cbeac0ddd60132")],
        spares: &["shpat_token"],
        ..SECRET
    },
    ContentRule {
        id: "secret.databricks-token",
        message: "holds a Databricks token",
        when: When::Token(&["dapi"], &[Run(LowerHex, 32, 32)], real),
        matches: &[concat!("da", "pi570cf1dcb92107c907cbeac0ddd60132")],
        spares: &["dapi_version"],
        ..SECRET
    },
    ContentRule {
        id: "secret.vault-token",
        message: "holds a token of HashiCorp Vault",
        when: When::Token(&["hvs.", "hvb.", "hvr."], &[Run(Base64Url, 90, 300)], real),
        matches: &[concat!(
            "hv",
            "s.XEsmvvroDJYlviXJxwM55dkAiByZzlcYLJg1WZ7GLUBiYWSnLJ2ki8zhPjGbSwmOXpybPd72QNWSF3EH6FEhcKtkErbdgVK"
        )],
        spares: &["hvs.token"],
        ..SECRET
    },
    ContentRule {
        id: "secret.linear-key",
        message: "holds a Linear key",
        when: When::Token(&["lin_api_"], &[Run(Alnum, 40, 40)], real),
        matches: &[concat!(
            "lin",
            "_api_NW3aclJ4wcd3FkyOt9PO5kgqUFe6qEPJZjRc2DyG"
        )],
        spares: &["lin_api_key"],
        ..SECRET
    },
];

//! What is said to somebody who mistypes, guesses or comes from another tool.

use crate::lab::Lab;

#[test]
fn what_is_to_be_hidden_must_be_there() {
    let lab = Lab::new().file(".env", "sec");
    for missing in [".evn", "*.env", "/nowhere/at/all"] {
        let ended = lab.sandbox(&["run", "--hide", missing, "--", "cat", ".env"]);
        ended.code(2).says(&format!("cannot hide {missing}"));
        assert!(!ended.stdout.contains("sec"), "{ended}");
    }
    let hidden = lab.sandbox(&["run", "--hide", ".env", "--", "cat", ".env"]);
    assert_eq!(hidden.code(0).stdout, "");
    // What a configuration names may come later.
    let config = lab.root().join("hide.yaml");
    std::fs::write(&config, "isolation: {hide: [/nowhere/at/all]}\n").unwrap();
    lab.sandbox(&["run", "-c", config.to_str().unwrap(), "--", "true"])
        .code(0);
}

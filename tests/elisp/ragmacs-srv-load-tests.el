;;; ragmacs-srv-load-tests.el --- What happens when our files are loaded  -*- lexical-binding: t; -*-

;;; Code:

(require 'ert)

(ert-deftest ragmacs-srv-loading-starts-nothing ()
  (should-not (featurep 'ragmacs-srv))
  (require 'ragmacs-srv)
  (should-not (process-list))
  (should-not timer-list)
  (mapatoms (lambda (symbol)
              (when (and (string-prefix-p "ragmacs" (symbol-name symbol))
                         (or (boundp symbol) (fboundp symbol)))
                (should (string-prefix-p "ragmacs-srv" (symbol-name symbol)))))))

;;; ragmacs-srv-load-tests.el ends here

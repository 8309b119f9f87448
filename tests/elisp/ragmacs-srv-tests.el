;;; ragmacs-srv-tests.el --- The core of the Emacs package  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)

(ert-deftest ragmacs-srv-text-of-all-planes-comes-back ()
  (pcase-let ((`(ok . ,result) (ragmacs-srv-test-call :ping '(:text "Größe 漢字 🙂"))))
    (should (equal (plist-get result :text) "Größe 漢字 🙂"))))

(ert-deftest ragmacs-srv-params-may-be-missing ()
  (let ((connection (ragmacs-srv-connection)))
    (should (equal (jsonrpc-request connection :ping nil) '(:text "")))
    (should (equal (jsonrpc-request connection :ping (make-hash-table)) '(:text "")))
    (should (plist-get (jsonrpc-request connection :initialize nil) :version))))

(ert-deftest ragmacs-srv-an-error-has-a-code-and-a-hint ()
  (pcase-dolist (`(,method ,params ,code ,hint)
                 '((:no/such/method nil -32601 nil)
                   (:search (:query 1 :unknown 2) -32602 "query")))
    (pcase-let* ((`(error . ,error) (ragmacs-srv-test-call method params)))
      (should (eql (plist-get error :code) code))
      (should (stringp (plist-get error :message)))
      (when hint (should (string-search hint (ragmacs-srv-error-text error)))))))

;;; ragmacs-srv-tests.el ends here

;;; ragmacs-srv-go-tests.el --- Types in buffers of Go, measured by a real Go  -*- lexical-binding: t; -*-

;;; Code:

(require 'ragmacs-srv-test)
(require 'ragmacs-srv-go)
(require 'ragmacs-srv-gptel nil t)

(defconst ragmacs-srv-go-test-source "package shapes

import (
	\"net/http\"
	str \"strings\"
)

// A Mixed has its fields in a bad order.
type Mixed struct {
	A bool // first
	B int64
	C bool
}

type (
	Pair struct{ A, B int }
	Wide struct {
		B str.Builder
	}
)

var mixed = Mixed{true, 1, false}

func g(f func()) {}

func h() {}

func f(r *http.Response) {
	g(func() {
		h()
	})
}
" "A file of Go.")

(defmacro ragmacs-srv-go-test-in (name &rest body)
  "Run BODY in a buffer of a file of Go in a module NAME of its own; `folder' is there."
  (declare (indent 1))
  `(let* ((folder (file-name-as-directory (file-truename (make-temp-file ,name t))))
          (file (expand-file-name "shapes.go" folder))
          (auto-mode-alist '(("\\.go\\'" . go-mode)))
          (make-backup-files nil))
     (write-region (format "module example.test/%s\n\ngo 1.22\n" ,name) nil (expand-file-name "go.mod" folder) nil 'silent)
     (write-region ragmacs-srv-go-test-source nil file nil 'silent)
     (unwind-protect
         (with-current-buffer (find-file-noselect file)
           (buffer-enable-undo)
           (unwind-protect (progn ,@body)
             (set-buffer-modified-p nil)
             (kill-buffer)))
       (delete-directory folder t))))

(defun ragmacs-srv-go-test-at (text)
  "Go behind the first TEXT in this buffer."
  (goto-char (point-min))
  (search-forward text))

(defun ragmacs-srv-go-test-layout ()
  "Measure the type at point as its key does; return what is shown."
  (save-window-excursion
    (save-current-buffer
      (call-interactively #'ragmacs-srv-struct-layout)))
  (ragmacs-srv-test-settled "*ragmacs layout*"))

(defmacro ragmacs-srv-go-test-ordered (answer &rest body)
  "Run BODY with ANSWER given to the one question, and return that and the change."
  (declare (indent 1))
  `(let (asked)
     (cl-letf (((symbol-function 'y-or-n-p)
                (lambda (question)
                  (setq asked (list question (with-current-buffer "*ragmacs order*"
                                               (should (derived-mode-p 'diff-mode))
                                               (buffer-string))))
                  ,answer)))
       ,@body)
     asked))

(ert-deftest ragmacs-srv-go-the-type-at-point-is-measured-as-the-buffer-has-it ()
  (skip-unless (getenv "TEST_GO"))
  (ragmacs-srv-go-test-in "unsaved"
    (ragmacs-srv-go-test-at "B int64")
    (should (string-search ".Mixed: 24 bytes" (ragmacs-srv-go-test-layout)))
    (insert "\n\tD [5]int64")
    (should (string-search ".Mixed: 64 bytes" (ragmacs-srv-go-test-layout)))
    (with-current-buffer "*ragmacs layout*"
      (revert-buffer))
    (should (string-search ".Mixed: 64 bytes" (ragmacs-srv-test-settled "*ragmacs layout*")))
    (ragmacs-srv-go-test-at "Pair struct")
    (should (string-search ".Pair: 16 bytes" (ragmacs-srv-go-test-layout)))
    (with-temp-buffer
      (insert-file-contents file)
      (should (equal (buffer-string) ragmacs-srv-go-test-source)))))

(ert-deftest ragmacs-srv-go-a-better-order-is-shown-then-made-in-the-buffer-and-undone-at-once ()
  (skip-unless (getenv "TEST_GO"))
  (ragmacs-srv-go-test-in "order"
    (ragmacs-srv-go-test-at "B int64")
    (ragmacs-srv-go-test-layout)
    (pcase-let ((`(,question ,change)
                 (ragmacs-srv-go-test-ordered nil
                   (with-current-buffer "*ragmacs layout*" (ragmacs-srv-apply-order)))))
      (should (string-search "without field names in shapes.go:22" question))
      (should (string-search "\n-\tA bool // first\n \tB int64\n+\tA bool // first\n" change)))
    (should-not (buffer-modified-p))
    (ragmacs-srv-go-test-ordered t
      (ragmacs-srv-test-messages
       (with-current-buffer "*ragmacs layout*" (ragmacs-srv-apply-order))))
    (should (ragmacs-srv-go--in-struct-p))
    (should (string-search "struct {\n\tB int64\n\tA bool // first\n\tC bool\n}" (buffer-string)))
    (should-not (get-buffer "*ragmacs order*"))
    (with-current-buffer "*ragmacs layout*"
      (should (string-search "not as it was measured"
                             (cadr (should-error (ragmacs-srv-apply-order) :type 'user-error)))))
    (should (string-search ".Mixed: 16 bytes" (ragmacs-srv-go-test-layout)))
    (with-current-buffer "*ragmacs layout*"
      (should-error (ragmacs-srv-apply-order) :type 'user-error))
    (undo-boundary)
    (let ((inhibit-message t)) (undo))
    (should (equal (buffer-string) ragmacs-srv-go-test-source))
    (should-not (buffer-modified-p))))

(ert-deftest ragmacs-srv-go-two-modules-are-measured-at-once ()
  "The folders that the server may read are those of all buffers, whoever speaks to it meanwhile."
  (skip-unless (getenv "TEST_GO"))
  (cl-flet ((ask (done)
              (ragmacs-srv-go-test-at "B int64")
              (ragmacs-srv-request :tools/call (ragmacs-srv-go--call "struct_layout" "." "Mixed" (point-marker))
                                   :success (lambda (result) (funcall done (plist-get result :text))))))
    (let (first second)
      (ragmacs-srv-go-test-in "first"
        (ask (lambda (text) (setq first text)))
        (when (featurep 'gptel)
          (ragmacs-srv-gptel-setup))
        (ragmacs-srv-go-test-in "second"
          (ask (lambda (text) (setq second text)))
          (ragmacs-srv-test-wait (and first second)))
        (should (string-search ".Mixed: 24 bytes" first))
        (should (string-search ".Mixed: 24 bytes" second))
        (let ((gone (directory-file-name folder)))
          (ragmacs-srv-disconnect)
          (setq first nil)
          (ragmacs-srv-open-folder (concat gone "-deleted"))
          (ask (lambda (text) (setq first text)))
          (ragmacs-srv-test-wait first)
          (should (string-search ".Mixed: 24 bytes" first)))))))

(ert-deftest ragmacs-srv-go-the-picture-is-saved-in-the-colours-of-the-frame ()
  (skip-unless (getenv "TEST_GO"))
  (let ((file (make-temp-file "layout" nil ".svg")) drawn)
    (dolist (background '(light dark))
      (cl-letf (((symbol-function 'frame-parameter) (lambda (&rest _) background)))
        (ragmacs-srv-struct-layout "bufio" "Reader"))
      (let ((text (ragmacs-srv-test-settled "*ragmacs layout*")))
        (should (string-search "offset" text))
        (should (string-search "bufio.Reader: 88 bytes" text)))
      (with-current-buffer "*ragmacs layout*"
        (ragmacs-srv-next)
        (should (string-prefix-p "handbook:" (plist-get (ragmacs-srv--source) :link)))
        (cl-letf (((symbol-function 'y-or-n-p) #'always))
          (ragmacs-srv-save-picture file)))
      (with-temp-buffer
        (insert-file-contents file)
        (should (string-prefix-p "<svg" (buffer-string)))
        (push (buffer-string) drawn)))
    (should-not (equal (car drawn) (cadr drawn)))
    (delete-file file)))

(ert-deftest ragmacs-srv-go-what-a-tool-refuses-is-shown ()
  (ragmacs-srv-struct-layout "bufio" "")
  (should (string-search "needs a type" (ragmacs-srv-test-settled "*ragmacs layout*")))
  (with-current-buffer "*ragmacs layout*"
    (should-error (ragmacs-srv-apply-order) :type 'user-error)
    (should-error (ragmacs-srv-save-picture "x.svg") :type 'user-error))
  (with-temp-buffer
    (let ((said (ragmacs-srv-test-messages
                 (ragmacs-srv-go-fill-type "bufio" "")
                 (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests)))))
      (should (string-search "no type was named" (car said))))
    (should (equal (buffer-string) ""))))

(ert-deftest ragmacs-srv-go-a-layout-is-a-table-where-no-picture-can-be-shown ()
  (with-temp-buffer
    (ragmacs-srv-go--insert-layout '(:text "offset size" :data (:svg "<svg/>")) nil)
    (should (equal (buffer-string) "offset size\n"))))

(ert-deftest ragmacs-srv-go-point-says-which-type-is-meant ()
  (ragmacs-srv-go-test-in "point"
    (pcase-dolist (`(,text ,in-struct ,named)
                   '(("B int64" t ("." . "int64"))
                     ("A Mixed" nil ("." . "Mixed"))
                     ("= Mixed" nil ("." . "Mixed"))
                     ("Pair" t ("." . "Pair"))
                     ("str.Bui" t ("strings" . "Builder"))
                     ("http.Re" nil ("net/http" . "Response"))
                     ("\th()" nil ("." . nil))))
      (ert-info (text)
        (ragmacs-srv-go-test-at text)
        (should (eq (and (ragmacs-srv-go--in-struct-p) t) in-struct))
        (should (equal (ragmacs-srv-go--named) named))))))

(ert-deftest ragmacs-srv-go-a-filler-stands-behind-the-declaration-with-the-imports-it-lacks ()
  (ragmacs-srv-go-test-in "fill"
    (let ((result '(:text "" :data (:code "func Fill() {}\n" :imports ["\"net/http\"" "\"math/rand\"" "strs \"strings\""]))))
      (ragmacs-srv-go-test-at "\th(")
      (ragmacs-srv-go--go-behind)
      (insert (ragmacs-srv-go--filler result t))
      (should (string-suffix-p "\t})\n}\n\n// needs \"math/rand\", strs \"strings\"\n\nfunc Fill() {}\n" (buffer-string)))
      (should (equal (ragmacs-srv-go--filler result nil)
                     "// needs \"net/http\", \"math/rand\", strs \"strings\"\n\nfunc Fill() {}\n")))))

(ert-deftest ragmacs-srv-go-the-struct-at-point-is-filled-by-a-function-behind-it ()
  (skip-unless (getenv "TEST_GO"))
  (ragmacs-srv-go-test-in "filled"
    (ragmacs-srv-go-test-at "Pair struct{ ")
    (insert "Unsaved, ")
    (let ((here (point)))
      (ragmacs-srv-test-messages
       (call-interactively #'ragmacs-srv-go-fill-type)
       (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests) 50))
      (should (= (point) here)))
    (should (search-forward "\n)\n\n// needs \"math/rand\"\n\n// randomPair " nil t))
    (should (search-forward "\nfunc randomPair(r *rand.Rand) Pair {\n" nil t))
    (should (string-search "Unsaved: " (buffer-substring (point) (search-forward "\n}\n"))))
    (should (looking-at-p "\nvar mixed"))))

(defconst ragmacs-srv-go-test-page
  '(:url "godoc:unsafe" :title "package unsafe (go1.1)"
    :sections [(:link "godoc:unsafe" :heading ["package unsafe"] :text "Package unsafe")
               (:link "godoc:unsafe#Sizeof" :heading ["package unsafe" "func Sizeof"]
                :text "Source: here, see:\n\nSource: unsafe/unsafe.go:9")])
  "A page of documentation, as the server gives it.")

(ert-deftest ragmacs-srv-go-the-section-that-point-is-in-is-the-one-whose-source-is-shown ()
  (with-current-buffer (ragmacs-srv--page-buffer "*page*" ragmacs-srv-go-test-page)
    (search-forward "Source: unsafe")
    (should (equal (ragmacs-srv-go--documented) "godoc:unsafe#Sizeof"))
    (search-backward "Package unsafe")
    (should (equal (ragmacs-srv-go--documented) "godoc:unsafe"))
    (should-error (ragmacs-srv-go--place ragmacs-srv-go-test-page "godoc:unsafe") :type 'user-error)
    (kill-buffer)))

(ert-deftest ragmacs-srv-go-documentation-leads-to-its-line-in-the-source ()
  (skip-unless (getenv "TEST_GO"))
  (let ((said (ragmacs-srv-test-messages
               (ragmacs-srv-go--visit-source ragmacs-srv-go-test-page "godoc:unsafe#Sizeof")
               (ragmacs-srv-test-wait (map-empty-p ragmacs-srv--requests)))))
    (should (string-search (format "of %s" (getenv "TEST_GO")) (car said))))
  (with-current-buffer (window-buffer)
    (should (string-suffix-p "/src/unsafe/unsafe.go" buffer-file-name))
    (should buffer-read-only)
    (should (= (line-number-at-pos) 9))
    (kill-buffer)))

(ert-deftest ragmacs-srv-go-documentation-of-a-folder-leads-into-that-folder-alone ()
  (ragmacs-srv-go-test-in "a folder"
    (save-window-excursion
      (let ((link (concat "godoc:" (replace-regexp-in-string " " "%20" (directory-file-name folder)) "#Mixed")))
        (ragmacs-srv-go--visit-source (list :url (car (split-string link "#"))
                                            :sections `[(:link ,link :text ,(format "Source: /elsewhere/%s:9" "shapes.go"))])
                                      link))
      (with-current-buffer (window-buffer)
        (should (equal buffer-file-name file))
        (should (looking-at-p "type Mixed"))
        (read-only-mode -1)))))

;;; ragmacs-srv-go-tests.el ends here
